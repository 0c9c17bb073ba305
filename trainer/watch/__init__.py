"""Has what production sees moved away from the champion's validation images?

Doors: `run.watch` and `result.read_watch`.
"""
