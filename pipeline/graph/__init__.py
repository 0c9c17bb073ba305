"""What runs on which machines: the graph, its tasks and targets, and the compiled spec.

Doors: `training_pipeline.make_pipeline`, `targets.find_target`, `compile.compile_pipeline`, and `request.RunRequest`.
"""
