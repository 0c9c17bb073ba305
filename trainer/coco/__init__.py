"""COCO's numbers as arrays: matching, AP, bootstrap, kinds of errors. No TensorFlow.

Doors: `metrics.score_arrays` (detections to AP and matches), `match_table.from_scored` and `bootstrap.compare` (from
matches to the interval of a difference), `error_kinds.analyse` and `analysis.read_analysis` (where AP is lost).
"""
