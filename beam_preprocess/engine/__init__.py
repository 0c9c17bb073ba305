"""Where a Beam job runs: pipeline options, and what Dataflow needs.

Doors: `options.beam_options`; `dataflow.check_reachable`, `dataflow.job_link` and `dataflow.counters`.
"""
