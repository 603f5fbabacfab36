"""Measurements, and the driver of a real ComfyUI that the demo, the tests and some measurements share."""
