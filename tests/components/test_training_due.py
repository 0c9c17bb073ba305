"""The watch's decision and its end: `training_due` and `no_training`, with a registry and the last run's record."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from components.alert import alert
from components.no_training import no_training
from components.remember import remember
from components.support.run_options import RunOptions, write_options
from components.training_due import training_due
from tests.components.examples import saved_model
from tests.loopback.webhook_server import WebhookServer
from tests.trainer.shared.test_webhook import server as webhook_server
from trainer.promotion.due import Watched, write_watched
from trainer.registry.local import LocalRegistry

server = webhook_server
RUN: dict[str, Any] = {
    "train_digest": "t",
    "val_digest": "v",
    **{f"{stage}_config": "{}" for stage in ("preprocess", "train", "export", "gate")},
    "seed": 0,
    "image": "i",
}
NO_STATUS = dsl.PipelineTaskFinalStatus(None, None, None, None, None)


class Watching:
    """A registry with a champion, a completed run, and what a watch said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = LocalRegistry(str(folder / "registry"))
        self.registry.publish(saved_model(folder / "model"), {}, key="run-1")
        self.registry.swap_alias("champion", "v0001", None)
        self.places = {"registry": str(self.registry.root), "pipeline_root": str(folder)}
        remember(outcome="promoted: v0001", report="", job="", **RUN, **self.places)
        self.say("drifted", "drifted: darker")

    def say(self, verdict: str, said: str) -> None:
        found = Watched(verdict=verdict, said=said, page="page.html", to_label="to_label.json")
        write_watched(found, str(self.folder / "watched.json"))

    def due(self, config: str = "{}", version: str = "v0001", **changes: Any) -> str:
        place = self.folder / "run" / "training-due" / "due"
        write_options(RunOptions(), str(place))
        self.made = dsl.Artifact(uri=str(place))
        watched = dsl.Artifact(uri=str(self.folder / "watched.json"))
        more = {"watched": watched, "version": version, "config": config, "job": "7", "due": self.made}
        return training_due(**more, **{**RUN, **changes}, **self.places)


@pytest.fixture
def watching(tmp_path: Path) -> Watching:
    return Watching(tmp_path)


@pytest.mark.parametrize(
    ("verdict", "config", "changes", "word"),
    [
        ("drifted", "watch: {on_drift: retrain}", {}, "wait"),
        ("drifted", "watch: {on_drift: retrain}", {"image": "j"}, "train"),
        ("steady", "{}", {"train_digest": "u"}, "train"),
        ("steady", "watch: {max_age_days: 30}", {}, "wait"),
        ("no champion", "{}", {"version": ""}, "wait"),
    ],
)
def test_the_word_that_the_graph_branches_on(
    verdict: str, config: str, changes: dict[str, Any], word: str, watching: Watching
) -> None:
    watching.say(verdict, verdict)
    assert watching.due(config, **changes) == word
    assert json.loads(Path(watching.made.uri).read_text())["train"] is (word == "train")


def test_age_is_that_of_the_younger_of_champion_and_last_run(watching: Watching) -> None:
    """An old champion that beat its challenger is not challenged by the same data every day."""
    old = (datetime.now(UTC) - timedelta(days=90)).isoformat(timespec="seconds")
    card = watching.registry.root / "versions" / "v0001" / "version.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "created": old}))
    assert watching.due("watch: {max_age_days: 30}") == "wait"
    record = watching.registry.root / "last_completed.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "ended": old}))
    assert watching.due("watch: {max_age_days: 30}") == "train"
    content = json.loads(record.read_text())
    del content["ended"]  # as older code wrote it
    record.write_text(json.dumps(content))
    assert watching.due("watch: {max_age_days: 30}") == "train"


def posted(server: WebhookServer, folder: Path) -> list[tuple[str, str]]:
    alert(status=NO_STATUS, secret="MY_WEBHOOK", pipeline_root=str(folder), job="7", run="run-1")
    return [(one["outcome"], one["sentence"]) for one in server.posted]


NO_LABELS = "no new labels since the last completed run"


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        ("steady", []),
        ("drifted", [("drifted", f"drifted: as seen; but {NO_LABELS}: label to_label.json")]),
        ("too few images", [("too few images", f"too few images: as seen; {NO_LABELS}")]),
    ],
)
def test_who_hears_of_a_watch_without_a_training(
    verdict: str, told: list[tuple[str, str]], watching: Watching, server: WebhookServer
) -> None:
    watching.say(verdict, f"{verdict}: as seen")
    assert watching.due() == "wait"
    sentence = no_training(due=watching.made, pipeline_root=str(watching.folder), job="7")
    assert sentence.startswith(f"{verdict}: as seen; ")
    assert posted(server, watching.folder) == told


def test_the_alert_of_a_training_says_what_was_watched(watching: Watching, server: WebhookServer) -> None:
    assert watching.due(train_digest="u") == "train"
    remember(outcome="held: min_ap", report="", job="7", **RUN, **watching.places)
    assert posted(server, watching.folder) == [("held", "held: min_ap (watched: drifted: darker)")]


def test_a_training_that_fails_after_the_watch(watching: Watching, server: WebhookServer) -> None:
    assert watching.due(train_digest="u") == "train"
    ((kind, sentence),) = posted(server, watching.folder)
    assert kind == "failed"
    assert sentence.endswith("(watched: drifted: darker)")
