"""The component hands on the summary's history, and a refusal is a sentence, not a failed run."""

from pathlib import Path

from kfp import dsl

from components.track import track
from tests.trainer.promotion.test_summary import summary
from trainer.promotion.summary import write_summary
from trainer.report.tracking import Tracking


def test_the_outcome_is_a_sentence(tmp_path: Path) -> None:
    write_summary(summary(), str(tmp_path / "summary.json"))
    artifact = dsl.Artifact(uri=str(tmp_path / "summary.json"))
    done = track(summary=artifact, tracking=Tracking(experiment="detector").text(), job="runs/1")
    assert done.startswith("not tracked: job runs/1: not a pipeline job of Vertex AI")
