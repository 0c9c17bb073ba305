"""Runs and schedules on an open-source Kubeflow Pipelines endpoint.

Doors: `runs.KubeflowRuns`, `runs.KubeflowRunsAs`, `schedules.KubeflowSchedules`.
"""
