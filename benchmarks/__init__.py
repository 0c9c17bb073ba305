"""Speed and memory, measured against the obvious alternative: `python -m benchmarks.NAME` from the repository."""
