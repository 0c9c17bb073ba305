"""Detections of many images, by Beam on this machine or on Dataflow: the same bytes on either.

Doors: `run.score` and `results.read_results`.
"""
