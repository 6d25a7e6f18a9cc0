"""Loihi 2's step, compiled."""
