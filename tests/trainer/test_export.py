import shutil
from pathlib import Path

import pytest

from tests.trainer.command_checks import assert_help_is_light, parsed_examples
from tests.trainer.validation_images import write_images
from trainer.export import main, parser

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them


def test_help_and_examples() -> None:
    assert_help_is_light("trainer.export")
    plain, augmented, changed = parsed_examples(parser(), "export")
    assert plain.flip is None
    assert (augmented.flip, augmented.scales) == (True, "1,1.25")
    assert changed.set == ["export.max_score_delta=0.02"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--images", "x"], "--images and --annotations belong together"),
        (["--scales", "1,x"], "--scales 1,x: not a list of numbers"),
        (["--config", "nothing.yaml"], "nothing.yaml: no such file"),
    ],
)
def test_bad_usage(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert main(["--checkpoint", str(trained), "--output", str(tmp_path / "model"), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_the_given_configuration_decides_and_a_refused_export_is_exit_code_1(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, annotations = write_images(tmp_path)
    config = tmp_path / "strict.yaml"
    config.write_text("export: {max_score_delta: 0.0}")
    flags = ["--checkpoint", str(trained), "--output", str(tmp_path / "model"), "--config", str(config)]
    assert main([*flags, "--images", str(images), "--annotations", str(annotations)]) == 1
    assert "not exported: the export differs from its checkpoint on 6 images" in capsys.readouterr().err


@pytest.mark.parametrize(("section", "warns"), [("", True), ("export: {flip: false}\n", False)])
def test_a_checkpoint_without_export_options_says_that_the_defaults_apply(
    trained: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], section: str, warns: bool
) -> None:
    """A run's checkpoint has none: what is exported by hand would silently differ from what the run exported.

    The output is there already, as for a command that is given again.
    """
    checkpoint, output = tmp_path / "checkpoint", tmp_path / "model"
    shutil.copytree(trained, checkpoint)
    shutil.copytree(exported, output)
    with (checkpoint / "config.yaml").open("a") as file:
        file.write(section)
    assert main(["--checkpoint", str(checkpoint), "--output", str(output)]) == 0
    warning, printed = "has no export: section, so its defaults apply; give --config", capsys.readouterr()
    assert (warning in printed.err) is warns
    assert "result: reused" in printed.out
