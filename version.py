"""The version, which everything else may import."""

__version__ = "0.3.0"
