"""When a training is due."""

from collections.abc import Set
from datetime import UTC, datetime, timedelta

import pytest

from trainer.config.watch_config import WatchConfig
from trainer.promotion.due import CHANGES, Due, Watched, days_since, decide
from trainer.promotion.last_run import identity

NOTHING: Set[str] = frozenset()
LABELS, CODE, VALIDATION = ({key} for key in ("train_digest", "image", "val_digest"))
REPORT, RETRAIN = WatchConfig(), WatchConfig(on_drift="retrain")
MONTHLY = WatchConfig(max_age_days=30)
BOTH = WatchConfig(on_drift="retrain", max_age_days=30)
LABEL_IT = "but no new labels since the last completed run: label to_label.json"
NO_LABELS = "no new labels since the last completed run"


@pytest.mark.parametrize(
    ("verdict", "changed", "days", "config", "train", "words"),
    [
        # Nothing to go by.
        ("steady", None, 1, REPORT, True, "no completed run is on record"),
        ("no champion", None, None, REPORT, True, "no completed run is on record"),
        ("no champion", NOTHING, None, BOTH, False, NO_LABELS),
        ("no champion", LABELS, None, REPORT, True, "new labels"),
        # New labels are a reason by themselves.
        ("steady", LABELS, 1, REPORT, True, "new labels: the training data changed"),
        ("drifted", LABELS, 1, REPORT, True, "new labels"),
        ("too-few-images", LABELS, 1, REPORT, True, "new labels"),
        # Drift needs something new to train with.
        ("drifted", NOTHING, 1, REPORT, False, LABEL_IT),
        ("drifted", NOTHING, 1, RETRAIN, False, LABEL_IT),
        ("drifted", CODE, 1, REPORT, False, f"{NO_LABELS} (watch.on_drift: report)"),
        ("drifted", CODE, 1, RETRAIN, True, "drift (watch.on_drift: retrain), and the code changed"),
        ("drifted", CODE | VALIDATION, 1, RETRAIN, True, "and the code and the validation data changed"),
        ("steady", CODE, 1, RETRAIN, False, NO_LABELS),
        ("too-few-images", CODE, 1, RETRAIN, False, NO_LABELS),
        # Age, whatever the data.
        ("steady", NOTHING, 29.9, MONTHLY, False, NO_LABELS),
        ("steady", NOTHING, 30, MONTHLY, True, "30 days old or more (watch.max_age_days: 30), of the same data"),
        ("drifted", NOTHING, 31.5, MONTHLY, True, "31 days old or more"),
        ("steady", CODE, 31, MONTHLY, True, "(watch.max_age_days: 30)"),
        ("steady", NOTHING, 4000, REPORT, False, NO_LABELS),
        # All reasons are named.
        ("drifted", LABELS, 31, BOTH, True, "new labels"),
        ("drifted", LABELS, 31, BOTH, True, "31 days"),
        ("drifted", LABELS, 31, BOTH, True, "; drift (watch.on_drift: retrain)"),
    ],
)
def test_what_is_due(
    verdict: str, changed: Set[str] | None, days: float | None, config: WatchConfig, train: bool, words: str
) -> None:
    found, why = decide(verdict, changed, days, config)
    assert found is train
    assert words in why


def test_every_part_of_a_runs_identity_has_a_word() -> None:
    assert set(identity("t", "v", ("{}",), 0, "i")) == set(CHANGES)


def test_the_newest_moment_counts() -> None:
    old, new = ((datetime.now(UTC) - timedelta(days=days)).isoformat() for days in (40, 3))
    found = [days_since(old, new), days_since(old, "")]
    assert [round(days or 0) for days in found] == [3, 40]
    without_zone = days_since(datetime.now(UTC).replace(tzinfo=None).isoformat())
    assert without_zone is not None
    assert without_zone < 0.1, "UTC"
    assert days_since("", "") is None


def test_the_sentence_begins_with_the_verdict() -> None:
    watched = Watched(verdict="drifted", said="drifted: darker", page="p")
    assert Due(train=False, why=LABEL_IT, watched=watched).sentence == f"drifted: darker; {LABEL_IT}"


@pytest.mark.parametrize("days", [-1.0, float("inf"), float("nan")])
def test_an_age_out_of_range(days: float) -> None:
    with pytest.raises(Exception, match=r"watch\.max_age_days"):
        WatchConfig(max_age_days=days)
