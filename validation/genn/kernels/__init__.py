"""What is compiled of GeNN's time-stepped EventProp: plain functions over arrays, and no face."""
