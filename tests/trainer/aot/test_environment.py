from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from trainer.aot import environment, xla


def test_the_lock_has_the_version_that_the_script_asks_for() -> None:
    assert f"jax=={xla.JAX} \\\n" in environment.LOCK.read_text()


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A uv that only writes down its calls, and fails when there is a file `fails` next to it. Returns the list."""
    calls, script = tmp_path / "calls", tmp_path / "uv"
    script.write_text(
        f"""#!/bin/sh
echo "$1 $2" >> {calls}
if [ -e {tmp_path}/fails ] && [ "$1" = pip ]; then echo "no such index" >&2; exit 2; fi
if [ "$1" = venv ]; then mkdir -p {tmp_path}/made/bin; touch {tmp_path}/made/bin/python; fi
"""
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return calls


def test_the_environment_is_created_once_per_lock(
    tmp_path: Path, uv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "made")
    once = ["venv --quiet", "pip sync"]
    for _ in range(2):
        assert environment.ensure(folder) == f"{folder}/bin/python"
        assert uv.read_text().splitlines() == once
    lock = tmp_path / "another.lock"
    lock.write_text("jax==0")
    monkeypatch.setattr(environment, "LOCK", lock)
    environment.ensure(folder)
    assert uv.read_text().splitlines() == once * 2
    assert "from another.lock" in capsys.readouterr().out


def test_a_half_created_environment_is_not_taken_for_a_complete_one(tmp_path: Path, uv: Path) -> None:
    (tmp_path / "fails").touch()
    folder = str(tmp_path / "made")
    for _ in range(2):
        with pytest.raises(InputError, match=r"`pip sync` failed \(no such index\); this needs uv, Python 3\.12"):
            environment.ensure(folder)
    (tmp_path / "fails").unlink()
    environment.ensure(folder)
    assert len(uv.read_text().splitlines()) == 6
