"""`centernet runs prune`."""

from pathlib import Path

import pytest

from pipeline.commands.runs import main, parser
from tests.pipeline.local.test_prune import OLD, make_run
from tests.trainer.command_checks import assert_help_is_light, parsed_examples


def test_help_and_examples() -> None:
    assert_help_is_light("pipeline.commands.runs")
    dry, real, elsewhere = parsed_examples(parser(), "runs")
    assert (dry.keep, dry.dry_run, real.dry_run, elsewhere.runs_dir) == (5, True, False, "/data/runs")


def test_dry_run_and_removal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i, name in enumerate("abc"):
        make_run(tmp_path, name, when=OLD + i)
    flags = ["prune", "--keep", "2", "--runs-dir", str(tmp_path)]
    assert main([*flags, "--dry-run"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out[:-1]] == ["a", "b", "c"]
    assert out[0].endswith("MB  would be removed")
    assert out[1].endswith("MB  stays: newest 2")
    assert out[-1].startswith("1 run would be removed, ")
    assert (tmp_path / "a").is_dir(), "a dry run removes nothing"
    assert main(flags) == 0
    assert "1 run removed" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]
    assert main(flags) == 0
    assert "0 runs removed" in capsys.readouterr().out


def test_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "--keep", "0", "--runs-dir", str(tmp_path)]) == 2
    assert "--keep 0" in capsys.readouterr().err
