"""The command `centernet promote`."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.trainer.command_checks import parsed_examples
from tests.trainer.promotion.test_publish import decision
from trainer.promote import main, parser
from trainer.promotion import publish
from trainer.registry.local import LocalRegistry


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags for decisions made by hand, as if their evidence had been found to agree."""
    monkeypatch.setattr(publish, "judge_again", lambda judged: judged)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"graph")
    return [
        *("--decision", str(tmp_path / "decision.json"), "--model", str(tmp_path / "model")),
        *("--registry", str(tmp_path / "registry")),
    ]


def test_exit_codes(tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "decision.json"
    for judged, key, code, words in (
        (decision(""), "run-1", 0, "promoted: v0001"),
        (decision("", promoted=False), "run-2", 3, "held: "),
        (decision(""), "run-2", 1, "error: champion is v0001, not unset as seen before: another promotion came first"),
    ):
        path.write_text(judged.to_json())
        assert main([*arguments, "--key", key]) == code
        output = capsys.readouterr()
        assert (output.out + output.err).startswith(words)
        assert output.out.count("\n") + output.err.count("\n") == 1
    assert LocalRegistry(str(tmp_path / "registry")).version("v0001").metadata["run_id"] == "run-1"
    path.unlink()
    assert main([*arguments, "--key", "x"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_another_model_than_the_judged_one(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "decision.json").write_text(replace(decision(""), model_digest="0" * 64).to_json())
    assert main([*arguments, "--key", "run-1"]) == 1
    assert "is not the model that was judged" in capsys.readouterr().err
    assert not (tmp_path / "registry").exists()


def test_examples() -> None:
    assert len(parsed_examples(parser(), "promote")) >= 2


def test_an_edited_decision_is_bad_input(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = decision("", promoted=False).to_json().replace('"fail"', '"pass"').replace("false", "true")
    (tmp_path / "decision.json").write_text(text)
    assert main([*arguments, "--key", "run-1"]) == 2
    assert "was changed after it was written" in capsys.readouterr().err
    assert not (tmp_path / "registry").exists()


def test_a_decision_without_its_evidence(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    (tmp_path / "decision.json").write_text(decision("").to_json())
    assert main([*arguments, "--key", "run-1"]) == 1
    error = capsys.readouterr().err
    assert "its evidence cannot be read" in error
    assert error.count("\n") == 1
