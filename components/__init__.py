"""Thin KFP components, one a file: each imports one function of ours, calls it, and writes metadata."""
