"""Where a training starts: weights of an earlier training, or somebody's checkpoint."""
