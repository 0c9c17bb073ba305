"""One training from its first step to its last, whatever interrupts it.

Doors: `run.train`, `run.make_experiment`, `modes.run` (Model Garden's modes), `checkpoints` (the model folder), and
`task.Task` (what one step computes).
"""
