"""Compiled loops of the learning rule and of its circuit."""
