"""The `centernet` command and the verbs that run, compile and submit the pipeline.

Doors: `cli.main`, and `parser` and `main` of each verb's module.
"""
