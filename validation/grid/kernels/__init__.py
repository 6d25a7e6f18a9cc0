"""What is compiled of the time-stepped network: plain functions over arrays, and no face."""
