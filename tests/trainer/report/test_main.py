"""The command `centernet report`."""

from pathlib import Path

import pytest

from tests.trainer.made_decision import NONE
from tests.trainer.made_report import Run
from trainer.promotion.summary import write_summary
from trainer.report.__main__ import main


def test_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, summary, page = Run(tmp_path), tmp_path / "summary.json", tmp_path / "report.html"
    write_summary(run.summary(run.good, NONE), str(summary))
    arguments = ["--predictions", str(run.predictions), "--images", str(run.images)]
    arguments += ["--annotations", str(run.annotations), "--output", str(page)]
    assert main(["--run", str(summary), *arguments]) == 0
    assert "Promoted: v0002" in page.read_text()
    assert capsys.readouterr().out == f"{page}\n"
    for content, words in (("{}", "schema_version is None"), ("[]", "is a list"), (None, "no such file")):
        summary.write_text(content) if content else summary.unlink()
        assert main(["--run", str(summary), *arguments]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert "give a run's summary.json" in error
