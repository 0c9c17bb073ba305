"""The commit of the source tree, and when there is none."""

import subprocess
from pathlib import Path

import pytest

from trainer.shared import commit


def test_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *author, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    package = tmp_path / "trainer"
    package.mkdir()
    monkeypatch.setattr(commit, "PACKAGE", package)
    assert commit.commit() == "unknown (not run from a git work tree)"
    (package / "a.py").write_text("1")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    assert commit.commit() == git("rev-parse", "HEAD")
    (package / "a.py").write_text("2")
    assert commit.commit() == f"{git('rev-parse', 'HEAD')}, with uncommitted changes"
    inner = package / "site-packages" / "trainer"
    inner.mkdir(parents=True)
    monkeypatch.setattr(commit, "PACKAGE", inner)
    assert commit.commit().startswith("unknown"), "another project's work tree around an installed package"
