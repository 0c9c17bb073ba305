"""Settings of all tests; the fixtures of a package's tests are beside them."""

import os

from hypothesis import settings

# Before any test imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Examples are the same on every machine, and no test depends on how fast one is.
settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("repeatable")
