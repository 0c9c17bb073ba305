"""Where a Beam job runs: pipeline options, local worker processes, and what Dataflow needs.

Doors: `options.beam_options`, `options.local_runner`, `write_errors.as_write_error`; `dataflow.check_reachable`,
`dataflow.job_link` and `dataflow.counters`.
"""
