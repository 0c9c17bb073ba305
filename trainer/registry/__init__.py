"""Model registries: versions that never change, and aliases that move by compare-and-swap. No TensorFlow.

Doors: `uri.open_registry`, `named.find_model`, `base.Registry` with its errors, and `digest.model_digest`.
"""
