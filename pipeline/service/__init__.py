"""Runs the graph on a pipeline service: request, cost, schedules.

Doors: `submission.prepare`, `options.SubmitOptions`, `prices.read_prices`, `waiting.wait`, and the rooms `vertex` and
`kubeflow`.
"""
