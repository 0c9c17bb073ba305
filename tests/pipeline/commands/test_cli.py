"""Help of every verb, and every `python -m pipeline …` that the help and the docs show: the command line takes it."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.commands.cli import main, make_parser
from tests.loopback.invocations import Run

REPOSITORY = Path(__file__).parents[2]
COSTS_MONEY = {
    "submit",
    "schedule create",
    "schedule update",
    "schedule resume",
}
PAGES = [*sorted((REPOSITORY / "docs").glob("*.md")), REPOSITORY / "README.md"]
ENVIRONMENT = {
    "PROJECT": "my-project",
    "REGION": "us-central1",
    "BUCKET": "my-bucket",
    "RUNNER": "centernet-runner@my-project.iam.gserviceaccount.com",
    "IMAGES": "us-central1-docker.pkg.dev/my-project/centernet",
    "RUN": "centernet-training-1a2b3c4d-20261124-030000",
}
"""What docs/vertex.md exports."""


def parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every verb with its parser; verbs of `schedule` by their full name."""
    waiting = [("", make_parser())]
    while waiting:
        name, parser = waiting.pop()
        below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        for action in below:
            waiting += [(f"{name} {verb}".strip(), child) for verb, child in action.choices.items()]
        if not below:
            yield name, parser


def commands(text: str) -> list[list[str]]:
    """The arguments of every `python -m pipeline …` in a text: continued lines joined, remarks left out."""
    joined = re.sub(r"\\\n\s*", " ", text)
    found = re.findall(r"python -m pipeline (.*)", joined)
    # A remark follows after wide space or "#"; a command within a sentence ends with its backtick, and may leave out
    # flags as "…".
    plain = [re.split(r"`|\s#|\s{3,}(?=[a-z])", line)[0] for line in found]
    filled = [re.sub(r"\$\{?(\w+)\}?", lambda name: ENVIRONMENT[name[1]], line) for line in plain]
    return [[word for word in shlex.split(line) if word != "…"] for line in filled]


def check(words: list[str]) -> None:
    """Exits when the command line doesn't take these arguments."""
    if "--help" not in words:
        make_parser().parse_args(words)


VERBS = dict(parsers())


def test_these_are_the_verbs() -> None:
    schedule = {f"schedule {verb}" for verb in ("create", "list", "show", "update", "pause", "resume", "delete")}
    assert set(VERBS) == {"run", "compile", "submit", "status", "list", "cancel", "logs"} | schedule


@pytest.mark.parametrize("verb", VERBS)
def test_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*verb.split(), "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "exit codes:" in text
    examples = commands(text[text.index("examples") :])
    assert [words for words in examples if words[: len(verb.split())] == verb.split()], "one of its own"
    for words in examples:
        check(words)


@pytest.mark.parametrize("verb", VERBS)
def test_no_default_project_and_a_dry_run_where_it_costs_money(verb: str) -> None:
    flags = {action.dest: action for action in VERBS[verb]._actions}
    for place in ("project", "region", "endpoint"):
        assert place not in flags or flags[place].default == ""
    assert ("project" in flags) == (verb not in ("run", "compile"))
    assert verb not in COSTS_MONEY or "dry_run" in flags


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("run", "compile")])
def test_without_a_place_nothing_happens(verb: str, run: Run) -> None:
    needed = [action for action in VERBS[verb]._actions if action.required]
    values = {"cron": "0 3 * * 1"}
    words = [word for action in needed for word in (*action.option_strings[:1], values.get(action.dest, "x"))]
    code, _, err = run(*verb.split(), *words)
    assert code == 2
    assert "--project and --region: not given" in err


@pytest.mark.parametrize(
    ("verb", "flags"),
    [
        ("list", ["--limit", "0"]),
        ("logs x", ["--limit", "-1"]),
        ("status x", ["--poll", "0"]),
        ("status x", ["--poll", "nan"]),
        ("schedule update weekly", ["--max-concurrent-runs", "0"]),
        ("schedule create", ["--max-concurrent-runs", "many"]),
    ],
)
def test_numbers_out_of_range(verb: str, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*verb.split(), *flags])
    assert stopped.value.code == 2
    assert f"argument {flags[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_the_docs_parse(page: Path) -> None:
    for words in commands(page.read_text()):
        check(words)


def test_commands_of_the_docs_do_what_they_say(run: Run) -> None:
    """What submits or schedules, as a dry run: the compiler, the configuration and the flags agree."""
    tried = 0
    for page in (REPOSITORY / "docs" / "vertex.md", REPOSITORY / "README.md"):
        for words in commands(page.read_text()):
            starts_something = words[0] == "submit" or words[:2] == ["schedule", "create"]
            if starts_something and "--help" not in words:
                code, out, err = run(*words, "--no-config-check", "--dry-run")
                assert (code, err) == (0, ""), words
                assert "cost ceiling" in out
                tried += 1
    assert tried >= 6


def test_the_docs_show_every_verb() -> None:
    shown = [" ".join(words) for words in commands((REPOSITORY / "docs" / "vertex.md").read_text())]
    missing = {verb for verb in VERBS if not any(line.startswith(verb) for line in shown)}
    assert missing == {"run"}, "which works on this machine"
