"""Settings of all tests. The fixtures of a package's tests are next to them; those with servers are in a plugin."""

import os

from hypothesis import settings

pytest_plugins = ["tests.loopback.fixtures"]

# Before any test imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Examples are the same on every machine, and no test depends on how fast one is.
settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("repeatable")
