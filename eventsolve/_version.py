"""The version, which the packaging reads, and which is known without any metadata."""

__version__ = "0.2.0"
