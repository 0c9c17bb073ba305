"""Running the graph on this machine, through kfp's local runner.

Doors: `run.run` with `prepare.LocalOptions`, and `prune.plan` with `prune.remove`.
"""
