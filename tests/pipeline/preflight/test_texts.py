"""Texts that kfp's local runner would change."""

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.preflight.texts import check_texts


def test_python3_is_refused() -> None:
    check_texts({"runs-dir": "/data/python/runs", "config": "gate: {}", "seed": 3})
    with pytest.raises(InputError, match="--runs-dir: /data/python3/runs contains 'python3'"):
        check_texts({"runs_dir": "/data/python3/runs"})
    with pytest.raises(InputError, match="--config: its text contains 'python3'"):
        check_texts({"config": "# python3\ngate: {}"})
