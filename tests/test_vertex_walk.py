"""A newcomer's walk through docs/vertex.md: every command of the page that has a --dry-run is run with it."""

import re
import shlex
from pathlib import Path

import pytest

from pipeline.commands.cli import VERBS
from pipeline.service.prices import read_prices
from tests.loopback.invocations import WHAT, WHERE, Run
from tests.loopback.vertex_server import VertexServer
from tests.test_docs import commands

pytestmark = pytest.mark.usefixtures("loopback_cloud")

REPOSITORY = Path(__file__).parents[1]
SERVICE = "pipeline service"
PAGE = (REPOSITORY / "docs" / "vertex.md").read_text()


def dry_runs(page: str) -> list[list[str]]:
    """The commands that have a --dry-run, with it. Model Garden's sections are checked in tests of their own."""
    found = []
    for words in commands(page):
        if "--help" in words:
            continue
        flags, _ = VERBS[words[0]].load().parser().parse_known_args(words[1:])
        if VERBS[words[0]].group == SERVICE and hasattr(flags, "dry_run"):
            extra = ["--no-config-check"] if hasattr(flags, "no_config_check") else []
            found.append([*(word for word in words if word != "--dry-run"), *extra, "--dry-run"])
    return found


@pytest.mark.usefixtures("example_profiles")
def test_every_dry_run_of_the_page(vertex: VertexServer, run: Run) -> None:
    walked = dry_runs(PAGE)
    verbs = {" ".join(words[:2]) if words[0] == "schedule" else words[0] for words in walked}
    assert verbs == {"submit", "schedule create", "schedule update", "schedule resume", "schedule delete"}
    create = ["schedule", "create", "--name", "weekly", "--cron", "0 3 * * 1"]
    assert run(*create, *WHERE, *WHAT)[0] == 0, "the schedule that later commands are about"
    sent = len(vertex.requests)
    for words in (*walked, *dry_runs((REPOSITORY / "README.md").read_text())):
        code, out, err = run(*words)
        assert (code, err) == (0, ""), shlex.join(words)
        assert "dry run" in out, shlex.join(words)
        assert words[0] != "submit" or "machine-hours of" in out
    assert {request.method for request in vertex.requests[sent:]} <= {"GET"}, "a dry run changes nothing"


@pytest.mark.usefixtures("example_profiles")
def test_the_profile_is_the_command_that_is_written_out(run: Run) -> None:
    short, *others = dry_runs(PAGE)
    assert short[:3] == ["submit", "--profile", "prod"]
    (long,) = [words for words in others if words[0] == "submit" and "--labels" in words]
    plans = [run(*words)[1].splitlines() for words in (short, long)]
    assert [line for line in plans[0] if not line.startswith("profile ")] == plans[1]


def test_the_price_list_of_the_page_reads(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(date:.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    assert "n2-standard-8 (Dataflow)" in read_prices(str(path)).per_machine_hour
