"""The version, which everything else may import."""

__version__ = "0.2.0"
