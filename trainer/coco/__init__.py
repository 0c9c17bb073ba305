"""COCO's numbers as arrays: matching, AP, bootstrap, error analysis. No TensorFlow."""
