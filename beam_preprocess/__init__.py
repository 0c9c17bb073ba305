"""Turns a COCO data set into validated TFRecords with precomputed centre targets.

`python -m beam_preprocess --help` is the command; `beam_preprocess.job.pipeline.preprocess` the function behind
it. Importing this package imports neither Beam nor TensorFlow.
"""
