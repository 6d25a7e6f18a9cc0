"""Commands of spiking backpropagation."""
