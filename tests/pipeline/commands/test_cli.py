"""The table of verbs: help without heavy imports, examples that parse, commands in the docs that parse."""

import argparse
import ast
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from pipeline.commands.cli import VERBS, main
from tests.loopback.invocations import Run
from tests.test_docs import commands
from trainer.shared.versions import VERSION

REPOSITORY = Path(__file__).parents[3]
COSTS_MONEY = {"submit", "schedule create", "schedule update", "schedule resume"}
HEAVY = ("tensorflow", "apache_beam", "kfp", "google.cloud.aiplatform", "numpy", "google.protobuf", "fsspec")
"""Libraries that help must not wait for."""


def has_parser(verb: str) -> bool:
    """Whether the verb's module defines `parser`, found without importing it."""
    path = REPOSITORY / f"{VERBS[verb].module.replace('.', '/')}.py"
    return path.exists() and any(
        isinstance(node, ast.FunctionDef) and node.name == "parser" for node in ast.parse(path.read_text()).body
    )


SERVICE = [name for name, verb in VERBS.items() if verb.group == "pipeline service"]


@cache
def parser_of(verb: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = VERBS[verb].load().parser()
    return parser


def parsers(verb: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """A verb's parser, or those of its own verbs, by full name."""
    waiting = [(verb, parser_of(verb))]
    while waiting:
        name, parser = waiting.pop()
        below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        for action in below:
            waiting += [(f"{name} {child}", choice) for child, choice in action.choices.items()]
        if not below:
            yield name, parser


def examples(text: str) -> list[str]:
    """The lines below "examples:", up to an empty one."""
    lines = text.splitlines()
    found = []
    for line in lines[lines.index("examples:") + 1 :]:
        if not line.strip():
            break
        found.append(line.strip())
    return found


def check(words: list[str]) -> None:
    """Fails if the command line does not accept these arguments."""
    if words[0] not in VERBS or "--help" in words:
        assert words[0] in VERBS
        return
    try:
        _, unknown = parser_of(words[0]).parse_known_args(words[1:])
        assert not unknown or words[0] in ("preprocess", "score", "watch"), unknown  # whose other flags are Beam's
    except SystemExit:
        pytest.fail(f"does not parse: {shlex.join(words)}")


def test_help_lists_every_verb_by_group(run: Run) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for verb in VERBS.values():
        assert out.count(f"\n  {verb.name} ") == 1
        assert f"\n{verb.group}:\n" in out
        assert verb.help in out
    assert max(map(len, out.splitlines())) <= 88, "one line per verb"
    groups = [verb.group for verb in VERBS.values()]
    assert groups == sorted(groups, key=groups.index), "each group is in one piece"


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"centernet {VERSION}\n", "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trian"], "error: trian: unknown verb; did you mean train? centernet --help lists all\n"),
        (["shedule", "list"], "did you mean schedule?"),
        (["xyzzy"], "error: xyzzy: unknown verb; centernet --help lists all\n"),
        (["--seed", "1"], "error: --seed: unknown verb"),
        ([], "no verb given; centernet --help lists them"),
    ],
)
def test_an_unknown_verb(words: list[str], says: str, run: Run) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert says in err


# For every verb: its help, in one process, and then which heavy libraries are loaded.
PROBE = """
import importlib, json, sys
modules, heavy = json.loads(sys.argv[1])
for module in modules:
    assert importlib.import_module(module).parser().format_help()
    loaded = [name for name in heavy if name in sys.modules]
    assert not loaded, f"the help of {module} loads {loaded}"
"""


def test_help_loads_no_heavy_library() -> None:
    """Its time is in docs/benchmarks.md: assertions on time fail on a busy machine."""
    modules = [VERBS[verb].module for verb in VERBS]
    process = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps([modules, HEAVY])],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["xyzzy"], ["status", "--help"], ["list", "--help"]])
def test_python_m_pipeline_is_the_same_command_in_any_folder(words: list[str], tmp_path: Path, run: Run) -> None:
    try:
        expected = run(*words)
    except SystemExit:
        expected = None
    process = subprocess.run(
        [sys.executable, "-m", "pipeline", *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    if expected is None:
        assert process.returncode == 0
        assert process.stdout.startswith(f"usage: centernet {words[0]} ")
    else:
        assert (process.returncode, process.stdout, process.stderr) == expected


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = dict(parsers(verb))
    for name in {verb, *names}:
        with pytest.raises(SystemExit) as stopped:
            main([*name.split(), "--help"])
        assert stopped.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: centernet {name} ")


@pytest.mark.usefixtures("example_profiles")
@pytest.mark.parametrize("verb", VERBS)
def test_examples_of_a_verb_parse(verb: str) -> None:
    found = examples(parser_of(verb).epilog or "")
    assert found, "at least one"
    for name, parser in parsers(verb):
        if parser.epilog and name != verb:
            found += examples(parser.epilog)
    for line in found:
        words = shlex.split(line.partition(" > ")[0], comments=True)
        assert words[:2] == ["centernet", verb], line
        check(words[1:])


def test_the_docs_show_every_verb_of_a_service() -> None:
    shown = [" ".join(words) for words in commands((REPOSITORY / "docs" / "vertex.md").read_text())]
    names = [name for verb in SERVICE for name, _ in parsers(verb)]
    assert [name for name in names if not any(line.startswith(name) for line in shown)] == []


@pytest.mark.parametrize("verb", SERVICE)
def test_no_default_project_and_a_dry_run_where_it_costs_money(verb: str) -> None:
    for name, parser in parsers(verb):
        flags = {action.dest: action for action in parser._actions}
        for place in ("project", "region", "endpoint"):
            assert flags[place].default == ""
        assert name not in COSTS_MONEY or "dry_run" in flags


@pytest.mark.parametrize("verb", SERVICE)
def test_without_a_project_nothing_happens(verb: str, run: Run) -> None:
    values = {"cron": "0 3 * * 1"}
    for name, parser in parsers(verb):
        needed = [action for action in parser._actions if action.required]
        words = [word for action in needed for word in (*action.option_strings[:1], values.get(action.dest, "x"))]
        code, _, err = run(*name.split(), *words)
        assert code == 2
        assert "--project and --region: not given" in err


def test_a_reader_that_has_enough_is_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "--help"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141
