"""Models of hardware under test, and the campaigns that compare them with the oracle."""
