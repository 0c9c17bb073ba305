"""A model server on this machine: kserve's, with this project's models, thresholds, limits and a page to try them.

The server runs in an environment of its own (`environment`), started by `launch.serve`. `python -m trainer.serving` is
the server itself and needs that environment; everything else imports neither kserve nor TensorFlow, but for `detector`.
"""
