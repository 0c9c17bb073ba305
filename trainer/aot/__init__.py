"""Does the training step fit a TPU that you don't have at hand? Ahead-of-time compilation."""
