import sys
import time
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from trainer.aot import xla, xla_process
from trainer.aot.xla_process import CompileError, run_xla


def test_input_that_the_script_refuses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no step\.hlo; export the step there first"):
        run_xla(sys.executable, ["convert", str(tmp_path)], "converting")


def test_any_other_end_is_a_compile_error_with_the_last_lines(tmp_path: Path) -> None:
    """This environment has no JAX."""
    for name in (xla.HLO, xla.DESCRIPTION):
        (tmp_path / name).write_text("{}")
    with pytest.raises(CompileError, match=r"^converting: .*No module named 'jax'"):
        run_xla(sys.executable, ["convert", str(tmp_path)], "converting")
    with pytest.raises(CompileError, match=r"^timing: "):
        run_xla(sys.executable, ["no such verb"], "timing")


def test_a_long_wait_prints_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(xla_process, "PULSE_SECONDS", 0.01)
    ends = time.monotonic() + 0.05
    xla_process.wait(lambda: time.monotonic() > ends, time.sleep, "compiling")
    assert capsys.readouterr().out.startswith("progress: compiling, 0 s\n")
