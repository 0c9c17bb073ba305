"""The command `centernet approve`."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.trainer.command_checks import parsed_examples
from tests.trainer.promotion.test_publish import decision
from trainer.approve import main, parser
from trainer.config.gate_config import GateConfig
from trainer.promotion import publish
from trainer.promotion.outcome import link_report
from trainer.promotion.publish import promote
from trainer.registry.approval import approval_of
from trainer.registry.local import LocalRegistry


def test_list_then_approve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(publish, "judge_again", lambda judged: judged)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"graph")
    path, registry = tmp_path / "decision.json", str(tmp_path / "registry")
    path.write_text(replace(decision(), gate=GateConfig(approval="required")).to_json())
    outcome = promote(decision=str(path), model=str(tmp_path / "model"), registry=registry, key="run-1", metadata={})
    link_report(outcome, "runs/1/report.html", registry)
    at = ["--registry", registry]
    assert main(["--list", *at]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("v0001  since 20")
    assert line.endswith("AP 0.5000  no champion yet  runs/1/report.html")
    assert main(["v0001", *at, "--by", "Ada"]) == 0
    assert capsys.readouterr().out == "promoted: v0001 (no champion before), approved by Ada\n"
    asked = approval_of(LocalRegistry(registry).version("v0001"))
    assert asked is not None
    assert "@" in asked.account
    assert main(["v0001", *at]) == 1
    assert capsys.readouterr().err.startswith("error: v0001: was approved by Ada at ")
    assert main(["--list", *at]) == 0
    assert capsys.readouterr().out == "no version waits for approval\n"


@pytest.mark.parametrize("words", [[], ["v0001", "--list"], ["v0001", "--registry", "nowhere"]])
def test_bad_input(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_examples() -> None:
    assert len(parsed_examples(parser(), "approve")) >= 2
