"""Does the training step fit a TPU that you don't have at hand? Ahead-of-time compilation.

Doors: `compile.compile_step`, `compile.carry` and `compile.Step`.
"""
