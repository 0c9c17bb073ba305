"""Runs, schedules and logs on Vertex AI.

Doors: `runs.VertexRuns`, `runs.RunsAs`, `schedules.VertexSchedules`.
"""
