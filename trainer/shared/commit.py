"""The commit that this source tree is at."""

import subprocess
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def commit() -> str:
    """The commit of this source tree and whether it has uncommitted changes; "unknown" outside git."""
    found = _git("rev-parse", "--show-toplevel", "HEAD")
    # A package installed below another work tree would report that tree's commit.
    if len(found) != 2 or Path(found[0]).resolve() != PACKAGE.parent.resolve():
        return "unknown (not run from a git work tree)"
    edited = _git("status", "--porcelain", "--untracked-files=no")
    return f"{found[1]}{', with uncommitted changes' if edited else ''}"


def _git(*arguments: str) -> list[str]:
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()
