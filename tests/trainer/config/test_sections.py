import subprocess
import sys
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from tests.trainer.made_records import TINY_CONFIG
from trainer.config.sections import CONFIGS, find_config, main, parse_config


def test_sections_become_their_classes() -> None:
    config = parse_config(TINY_CONFIG + "export: {score_threshold: 1}\n")
    assert config.preprocess.image_size == (32, 64)
    assert config.preprocess.map_size == (8, 16)
    assert config.export.score_threshold == 1.0
    assert config.gate.min_ap == 0.1
    assert config.experiment["trainer"]["train_steps"] == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("just text", "expected sections"),
        ("[]", "expected sections"),
        ("training: {}", "unknown section 'training'"),
        ("task: 3", "task: expected a mapping"),
        ("preprocess: {image_sise: [1, 2]}", "preprocess.image_sise: unknown key"),
        ("preprocess: {image_size: [30, 64]}", "not a multiple of preprocess.stride"),
        ("preprocess: {image_size: [32]}", "has 1 entries; 2 are needed"),
        ("preprocess: {train_views: 1.5}", "preprocess.train_views: 1.5 is a float; a int is needed"),
        ("preprocess: {train_views: 0}", "preprocess.train_views: 0 is out of range"),
        ("preprocess: {scale_min: 2}", "scale_min"),
        ("export: {score_threshold: 2}", "export.score_threshold: 2"),
        ("gate: {minimum: 1}", "gate.minimum: unknown key"),
        ("task: {}\ntrainer: {}\ntask: {}", "the key 'task' comes twice"),
        ("trainer:\n  train_steps: 1\n  train_steps: 2", "the key 'train_steps' comes twice"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_config(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_section_is_the_default() -> None:
    assert parse_config("preprocess:\ngate:\n").preprocess.train_views == 8


def test_a_power_of_ten_is_a_number() -> None:
    """As in Model Garden's files; PyYAML alone takes 1e-3 for a text."""
    config = parse_config("trainer: {a: 1e-3, b: -1E+4, c: 2.5e2, d: 12e, e: '1e-3', f: 3}\ngate: {min_delta: -5e-3}")
    values = config.experiment["trainer"]
    assert list(values.values()) == [0.001, -10000.0, 250.0, "12e", "1e-3", 3]
    assert config.gate.min_delta == -0.005


def test_find_config_takes_names_and_paths() -> None:
    assert find_config("custom-small") == find_config("custom-small.yaml") == CONFIGS / "custom-small.yaml"
    assert find_config(str(CONFIGS / "demo.yaml")) == CONFIGS / "demo.yaml"
    with pytest.raises(InputError, match=r"no such file; give a path or one of .*custom-small"):
        find_config("custom-smal")


def test_a_config_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "image.yaml").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"image.yaml: can't be read: 'utf-8' codec .*; give a YAML file"):
        find_config(str(tmp_path / "image.yaml"))


def test_check_is_a_command() -> None:
    command = [sys.executable, "-m", "trainer.config", "check", str(CONFIGS / "demo.yaml")]
    assert "demo.yaml: valid" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_check_knows_the_keys_of_model_gardens_sections(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("task: {modle: {}}")
    assert main(["check", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: config: task.modle: unknown key; known keys are ")
