"""Data that comes from outside, or goes there."""
