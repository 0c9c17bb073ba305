"""Model registries: versions that never change, and aliases that move by compare-and-swap. No TensorFlow."""
