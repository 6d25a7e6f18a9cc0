"""What is compiled: tangents of the flow, through recorded events in the order of their times."""
