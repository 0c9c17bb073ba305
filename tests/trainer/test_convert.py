import inspect

import pytest

from tests.trainer.command_checks import assert_help_is_light, parsed_examples
from trainer.convert import main, parser
from trainer.saved_model.conversion import FORMATS, convert


def test_help_and_examples() -> None:
    assert_help_is_light("trainer.convert")
    examples = parsed_examples(parser(), "convert")
    assert tuple(flags.to for flags in examples) == FORMATS
    assert examples[0].max_delta == inspect.signature(convert).parameters["max_delta"].default


@pytest.mark.parametrize(
    ("flags", "message"),
    [(["--to", "coreml"], "--to coreml: unknown format; use tflite or onnx"), (["--to", "onnx"], "not a SavedModel")],
)
def test_bad_usage(capsys: pytest.CaptureFixture[str], flags: list[str], message: str) -> None:
    assert main(["--model", "nowhere", "--output", "x", *flags]) == 2
    assert message in capsys.readouterr().err
