"""Beam's options, and Dataflow's: where a job runs."""
