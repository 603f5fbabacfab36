"""Measurements of what runs networks: onnxruntime and its providers, worker processes, tiles, other formats."""
