"""Runs, schedules and logs on Vertex AI."""
