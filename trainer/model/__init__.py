"""The network, its losses, and test-time augmentation.

Doors: `network.build_model`, `losses`, `tta.detect`.
"""
