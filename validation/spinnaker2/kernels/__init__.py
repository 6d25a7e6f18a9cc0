"""What is compiled of the chip: plain functions over arrays, and no face."""
