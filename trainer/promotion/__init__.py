"""May the candidate replace the champion? From evaluations to a decision, and what follows from it. No TensorFlow.

Doors: `evaluation.read_evaluation`, `judge.judge`, `publish.promote`, `summary.build_summary`, and `last_run.is_last`.
"""
