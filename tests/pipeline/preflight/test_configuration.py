"""The check of a configuration in its own process."""

from pathlib import Path

import pytest

from beam_preprocess.base.config_text import ConfigText
from beam_preprocess.base.errors import InputError
from pipeline.preflight import configuration
from pipeline.preflight.configuration import ConfigCheck

FAKE = """
import pathlib, sys
text = pathlib.Path(sys.argv[-1]).read_text()
if text == "crash":
    raise RuntimeError("no TensorFlow")
if text != "good":
    print("warning: slow", file=sys.stderr)
    sys.exit(print(f"error: {sys.argv[-1]}: {text}", file=sys.stderr) or 2)
"""
"""Takes the place of `trainer.config check`, which imports TensorFlow; tests/pipeline/commands/test_run.py runs it."""


@pytest.fixture(autouse=True)
def fake_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trainer" / "config").mkdir(parents=True)
    for file in ("trainer/__init__.py", "trainer/config/__init__.py"):
        (tmp_path / file).write_text("")
    (tmp_path / "trainer" / "config" / "__main__.py").write_text(FAKE)
    monkeypatch.chdir(tmp_path)  # python -m looks there first
    monkeypatch.setattr(configuration, "child_environment", lambda: {"PYTHONPATH": str(tmp_path)})


def check(text: str, valid: Path | None = None) -> ConfigCheck:
    return ConfigCheck(ConfigText(text=text, where="mine.yaml with --set gate.min_ap=2"), valid)


def test_a_valid_configuration() -> None:
    check("good").wait()


def test_the_error_names_the_origin_and_not_the_temporary_file() -> None:
    with pytest.raises(InputError, match=r"^mine.yaml with --set gate.min_ap=2: unknown key$"):
        check("unknown key").wait()


def test_a_check_that_crashes_is_not_bad_input() -> None:
    with pytest.raises(RuntimeError, match="no TensorFlow"):
        check("crash").wait()


def test_a_stopped_check_leaves_nothing() -> None:
    started = check("good")
    assert started._process is not None
    folder = Path(started._folder.name)
    assert folder.exists()
    started.stop()
    assert started._process.poll() is not None
    assert not folder.exists()


def test_what_was_valid_is_not_checked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    valid = tmp_path / "runs" / "valid"
    for text in ("unknown key", "unknown key", "good"):
        started = check(text, valid)
        assert started._process is not None, "only what was valid is remembered"
        if text == "good":
            started.wait()
        else:
            with pytest.raises(InputError):
                started.wait()
    monkeypatch.setattr(configuration.sys, "executable", "/no/such/python")
    again = check("good", valid)
    again.wait()
    again.stop()
    with pytest.raises(FileNotFoundError):
        check("another", valid)
