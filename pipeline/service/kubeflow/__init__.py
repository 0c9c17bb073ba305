"""Runs and schedules on a Kubeflow Pipelines endpoint."""
