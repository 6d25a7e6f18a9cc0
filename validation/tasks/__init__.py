"""Tasks: data sets as problems, each with its networks and losses."""
