"""Hostile and damaged files and values."""
