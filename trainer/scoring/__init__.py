"""Detections of many images, by Beam on this machine or on Dataflow: the same bytes on either.

Doors: `run.score`, `results.read_results` and `chosen_model.choose`.
"""
