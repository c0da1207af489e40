"""Quantized networks: TensorFlow Lite models, run bit for bit, and changes to them."""
