import inspect
from pathlib import Path

import pytest

from beam_preprocess.format.annotations import load_annotations
from beam_preprocess.format.sources import whole_digest
from tests.trainer.command_checks import assert_help_is_light, parsed_examples
from tests.trainer.validation_images import write_images
from trainer.evaluate import main, parser
from trainer.promotion.evaluation import SERVED, Evaluation, read_evaluation
from trainer.saved_model.accuracy import evaluate

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them


def test_help_and_examples() -> None:
    assert_help_is_light("trainer.evaluate")
    flags, without_latency = parsed_examples(parser(), "evaluate")
    assert without_latency.latency_calls == 0
    defaults = inspect.signature(evaluate).parameters
    for flag, name in (("batch_size",) * 2, ("latency_calls",) * 2, ("signature", "signature_name")):
        assert getattr(flags, flag) == defaults[name].default
    assert flags.signature == SERVED, "the gate holds the scores of another one"


def flags_of(model: Path, images: Path, annotations: Path, output: Path) -> list[str]:
    return [f"--model={model}", f"--images={images}", f"--annotations={annotations}", f"--output={output}"]


@pytest.mark.parametrize(
    ("more", "measured"), [([], True), (["--latency-calls=0", "--batch-size=4"], False), (["--latency_calls=0"], False)]
)
def test_the_flags_reach_the_evaluation(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], measured: bool
) -> None:
    images, annotations = write_images(tmp_path / "data")
    flags = flags_of(exported, images, annotations, tmp_path / "out")
    assert main([*flags, *more]) == 0
    printed = capsys.readouterr().out
    evaluation = read_evaluation(str(tmp_path / "out" / "evaluation.json"))
    assert isinstance(evaluation, Evaluation)
    # The data's digest, as the data check computes it: without it, the gate's same_data always fails.
    assert evaluation.data_digest == whole_digest(str(images), load_annotations(str(annotations)))
    assert len(evaluation.data_digest) == 64
    assert (evaluation.latency_ms is not None) == measured == ("latency" in printed)
    assert f"ap         {evaluation.metrics['ap']:.4f}" in printed


@pytest.mark.parametrize(("more", "message"), [([], "not a SavedModel"), (["--batch_size=0"], "--batch-size 0: use 1")])
def test_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str) -> None:
    flags = flags_of(tmp_path, *write_images(tmp_path / "data"), tmp_path / "out")
    assert main([*flags, *more]) == 2
    assert message in capsys.readouterr().err
