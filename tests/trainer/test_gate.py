"""The command `centernet gate`."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from beam_preprocess.base import config_text
from beam_preprocess.base.config_text import ConfigText
from tests.trainer.command_checks import parsed_examples
from tests.trainer.made_decision import FAILED, NONE, evaluation
from tests.trainer.made_evaluation import write_evaluation
from trainer.gate import main, parser
from trainer.promotion.decision import read_decision
from trainer.promotion.evaluation import Evaluation, NoEvaluation

ROOT = Path(__file__).parents[2]

Files = Callable[[str, Evaluation | NoEvaluation | str], str]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Writes evaluations; returns their paths."""
    return lambda name, value: write_evaluation(tmp_path / name, value)


def test_promotes(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "out" / "decision.json")
    arguments = ["--candidate", files("new", evaluation(0.5)), "--champion", files("old", evaluation(0.4))]
    assert main([*arguments, "--champion-version", "v0007", "--output", output]) == 0
    assert "decision: promote" in capsys.readouterr().out
    decision = read_decision(output)
    assert (decision.promote, decision.champion_version) == (True, "v0007")


def test_holds(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "decision.json"
    arguments = ["--candidate", files("new", evaluation(0.5)), "--champion", files("old", FAILED)]
    assert main([*arguments, "--output", str(output)]) == 3
    assert "could not be scored" in capsys.readouterr().out
    assert read_decision(str(output)).promote is False


def test_the_best_version_is_a_flag(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--candidate", files("new", evaluation(0.50)), "--champion", files("old", evaluation(0.50))]
    assert main([*arguments, "--best", files("best", evaluation(0.60)), "--best-version", "v0002"]) == 3
    assert "min_delta_best  AP 0.5050 against 0.6040 of the best v0002" in capsys.readouterr().out


def test_thresholds(files: Files, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("gate: {min_ap: 0.45}\n")
    new = files("new", evaluation(0.42))
    assert main(["--candidate", new, "--no-champion"]) == 0
    assert main(["--candidate", new, "--no-champion", "--config", str(config)]) == 3
    assert main(["--candidate", new, "--no-champion", "--config", str(config), "--min-ap", "0.42"]) == 0
    assert main(["--candidate", new, "--no-champion", "--config", "custom-small", "--min-ap", "0.42"]) == 0
    assert main(["--candidate", new, "--champion", files("old", evaluation(0.45)), "--min-delta", "-0.2"]) == 0
    assert main(["--candidate", new, "--champion", files("old", evaluation(0.45))]) == 3
    assert main(["--candidate", new, "--no-champion", "--objects", "100"]) == 0
    assert main(["--candidate", new, "--no-champion", "--objects", "99"]) == 3


def test_changes_go_to_the_configuration(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def resolve(name: str, changes: list[str]) -> ConfigText:
        asked.append((name, changes))
        return ConfigText(text="gate: {min_ap: 0.9}", where="changed")

    monkeypatch.setattr(config_text, "resolve", resolve)
    changes = ["--set", "gate.min_ap=0.9", "--set", "gate.min_support=5"]
    assert main(["--candidate", files("new", evaluation()), "--no-champion", "--config", "x", *changes]) == 3
    assert asked == [("x", ["gate.min_ap=0.9", "gate.min_support=5"])]


@pytest.mark.parametrize(
    ("candidate", "extra", "words"),
    [
        ("{", ["--no-champion"], "not JSON"),
        (NONE.to_json(), ["--no-champion"], "give a scored model's"),
        (evaluation().to_json(), ["--no-champion", "--min-ap", "40"], "gate.min_ap"),
        (evaluation().to_json(), ["--no-champion", "--config", "no-such-config"], "no such"),
        (evaluation().to_json(), ["--no-champion", "--set", "gate.min_ap=1"], "given without --config"),
    ],
)
def test_bad_input(
    files: Files, capsys: pytest.CaptureFixture[str], candidate: str, extra: list[str], words: str
) -> None:
    assert main(["--candidate", files("new", candidate), *extra]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--candidate", "x"], ["--candidate", "x", "--champion", "y", "--nonsense"]])
def test_usage_is_exit_code_2(arguments: list[str]) -> None:
    """Also a candidate without --champion and --no-champion: that there is no champion is never assumed."""
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2


def test_examples() -> None:
    assert len(parsed_examples(parser(), "gate")) >= 3


def test_as_a_process(files: Files) -> None:
    command = [sys.executable, "-m", "trainer.gate", "--candidate", files("new", evaluation(0.1)), "--no-champion"]
    assert subprocess.run([*command, "--min-ap", "0.2"], cwd=ROOT, capture_output=True, check=False).returncode == 3


def loaded_by(code: str) -> set[str]:
    """Modules that are loaded after the code has run in a process of its own."""
    code = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_import_stays_light() -> None:
    """Gate and promote are processes of their own in the pipeline: each one pays for what it imports."""
    rooms = loaded_by("import trainer.gate, trainer.promote, trainer.promotion.judge, trainer.promotion.publish")
    heavy = {"tensorflow", "pycocotools", "matplotlib", "PIL", "jinja2", "fsspec", "yaml", "kfp", "apache_beam"}
    assert not heavy & rooms
    assert {"numpy", "trainer.promotion.rules"} <= rooms, "the check looked at the wrong process"


@pytest.mark.parametrize("module", ["gate", "promote", "registry.__main__", "report.__main__"])
def test_help_loads_nothing_heavy(module: str) -> None:
    loaded = loaded_by(f"import trainer.{module} as m; m.main(['--help'])")
    assert f"trainer.{module}" in loaded
    assert not {"numpy", "yaml", "fsspec", "jinja2", "google.api_core", "tensorflow"} & loaded
