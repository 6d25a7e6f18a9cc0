"""Spiking backpropagation on Loihi: what a chip that learns computes, update by update, to the last bit."""
