"""The network, its losses, and test-time augmentation."""
