"""Where a training starts: the weights of an earlier training, or a checkpoint from elsewhere.

Doors: `loading` (weights into a model), `conversion.convert` (any checkpoint into a starting point).
"""
