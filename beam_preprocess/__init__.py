"""Turns a COCO data set into validated TFRecords with precomputed centre targets.

The commands are at the top level (`preprocess`, `check`, `inspect_records`); `job.pipeline.preprocess` is the function
behind the first. Importing this package imports neither Beam nor TensorFlow.
"""
