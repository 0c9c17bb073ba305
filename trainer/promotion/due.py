"""Is a training due? Asked after the champion has watched new images: new labels, drift and age are the reasons.

The same data are not trained twice: drift alone brings nothing to learn from, so without new labels it is a reason only
if something else that shapes the model changed. Age is the exception, and at most once in `max_age_days`.
"""

import json
import math
from collections.abc import Set
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from beam_preprocess.base.files import read_text, write_text
from beam_preprocess.base.json import read
from trainer.config.watch_config import WatchConfig

NAME, WATCHED = "due.json", "watched.json"
DRIFTED, NO_CHAMPION = "drifted", "no champion"
CHANGES = {
    "train_digest": "the training data",
    "val_digest": "the validation data",
    "config": "the configuration",
    "seed": "the seed",
    "image": "the code",
}
"""What `last_run.identity` holds, in words."""
RUN_AGAIN = "run the watch again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """Content of `watched.json`: what watching hands on."""

    verdict: str
    """steady, drifted, too-few-images (`trainer.watch.result`), or NO_CHAMPION."""
    said: str
    """Verdict and reason in one line, for people."""
    page: str
    """URI of the page."""
    to_label: str = ""
    """URI of the list of images that are worth labelling; "" if there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """Content of `due.json`."""

    train: bool
    why: str
    """The reasons, or why there is none."""
    watched: Watched

    @property
    def sentence(self) -> str:
        """The outcome of a run that trains nothing: it begins with the verdict."""
        return f"{self.watched.said}; {self.why}"


def decide(verdict: str, changed: Set[str] | None, days: float | None, config: WatchConfig) -> tuple[bool, str]:
    """Whether a training is due, and why.

    Args:
      verdict: of watching.
      changed: what differs from the last completed run, as the keys of its identity; None: no run has completed.
      days: since the younger one of the champion and the last completed run; None: there is no champion, or its age is
        unknown.
      config: the section `watch:`.
    """
    if changed is None:
        return True, "no completed run is on record"
    reasons = []
    if "train_digest" in changed:
        reasons.append("new labels: the training data changed since the last completed run")
    if days is not None and 0 < config.max_age_days <= days:
        same = "" if changed else ", of the same data, configuration and code"
        reasons.append(f"champion and last run are {math.floor(days)} days old or more ({_age(config)}){same}")
    if verdict == DRIFTED and config.on_drift == "retrain" and changed:
        words = " and ".join(CHANGES.get(key, key) for key in sorted(changed))
        more = "" if "train_digest" in changed else f", and {words} changed since the last completed run"
        reasons.append(f"drift (watch.on_drift: retrain){more}")
    if reasons:
        return True, "; ".join(reasons)
    if verdict != DRIFTED:
        return False, "no new labels since the last completed run"
    if changed and config.on_drift == "report":
        return False, "no new labels since the last completed run (watch.on_drift: report)"
    return False, "but no new labels since the last completed run: label to_label.json"


def _age(config: WatchConfig) -> str:
    return f"watch.max_age_days: {config.max_age_days:g}"


def days_since(*moments: str) -> float | None:
    """Days since the newest of some moments in ISO 8601; "" is unknown, and left out; None if all are."""
    known = [datetime.fromisoformat(moment) for moment in moments if moment]
    if not known:
        return None
    newest = max(moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in known)
    return (datetime.now(UTC) - newest).total_seconds() / 86400


def write_watched(watched: Watched, uri: str) -> None:
    """Writes `watched.json`."""
    write_text(uri, json.dumps(asdict(watched), indent=1) + "\n")


def read_watched(uri: str) -> Watched:
    """The content of `watched.json`.

    Raises:
      InputError: it is missing or damaged.
    """
    return read(Watched, read_text(uri, RUN_AGAIN), uri, RUN_AGAIN)


def write_due(due: Due, uri: str) -> None:
    """Writes `due.json`."""
    write_text(uri, json.dumps(asdict(due), indent=1) + "\n")


def read_due(uri: str) -> Due:
    """The content of `due.json`.

    Raises:
      InputError: it is missing or damaged.
    """
    return read(Due, read_text(uri, RUN_AGAIN), uri, RUN_AGAIN)
