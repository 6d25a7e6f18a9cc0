"""Loihi 2 by the integers that Lava computes."""
