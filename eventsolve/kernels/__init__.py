"""What is compiled: plain functions over arrays, and no face."""
