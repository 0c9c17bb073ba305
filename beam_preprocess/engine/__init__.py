"""Where a Beam job runs: pipeline options, local worker processes, and what Dataflow needs.

Doors: `options.beam_options`, `running.run_job`, `write_errors.as_write_error`, `dataflow.check_reachable` and
`dataflow.is_dataflow`.
"""
