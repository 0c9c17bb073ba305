"""The table at the end of a run."""

from typing import Any

import pytest

from pipeline.local.result_table import comparison

SUMMARY: dict[str, Any] = {
    "ap": 0.61234,
    "ap50": 0.8,
    "ap75": None,
    "champion": {"status": "none", "reason": "no champion yet"},
    "decision": {
        "sentence": "promoted: v0001",
        "rules": [
            {"name": "min_ap", "value": 0.61234, "threshold": 0.5, "status": "pass", "sentence": "AP is high enough"},
            {"name": "same data", "value": "a" * 64, "threshold": None, "status": "fail", "sentence": "other data"},
            {"name": "min_delta", "value": None, "threshold": -0.005, "status": "skipped", "sentence": "No champion"},
        ],
    },
    "seconds": {"total": 12.34},
}


def test_the_table() -> None:
    lines = [line.split() for line in comparison(SUMMARY).splitlines()]
    assert ["AP", "AP50", "AP75", "APs", "APm", "APl"] in lines
    assert ["candidate", "0.6123", "0.8000", "-", "-", "-", "-"] in lines
    assert ["champion", "no", "champion", "yet"] in lines
    assert ["min_ap", "0.6123", "0.5000", "pass", "AP", "is", "high", "enough"] in lines
    assert ["same", "data", "aaaaaaa...", "-", "FAIL", "other", "data"] in lines
    assert ["min_delta", "-", "-0.0050", "skipped", "No", "champion"] in lines
    assert ["decision", "promoted:", "v0001"] in lines
    assert ["seconds", "12.3"] in lines


@pytest.mark.parametrize("ap", [0.5, None])
def test_a_scored_champion_has_its_metrics_and_version(ap: float | None) -> None:
    champion = {"status": "scored", "version": "v0003", "metrics": {"ap": ap}}
    (line,) = (row for row in comparison({**SUMMARY, "champion": champion}).splitlines() if row.startswith("champion"))
    assert line.split()[1] == ("-" if ap is None else "0.5000")
    assert line.endswith("v0003")
