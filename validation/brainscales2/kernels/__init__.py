"""What is compiled: layers of neurons that count once, forward and back, for trainings of many small batches."""
