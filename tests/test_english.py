"""Keeps the worst habits of translated English out of the documents and out of the packages' strings and comments.

Each pattern comes with the words to write instead. `python -m tests.test_english` lists every hit; paths as arguments
narrow it down.
"""

import ast
import io
import re
import sys
import tokenize
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("beam_preprocess", "components", "pipeline", "trainer")

COUNTED = (
    "one|two|three|GB|FLOP|(?:image|line|byte|second|microsecond|millisecond|row|file|step|view|record|plan|box)s?"
)
UNITS = (
    "stage|core|view|line|image|name|class|row|worker|file|run|step|shard|split|batch|box|object|epoch|call|second|hour|"
    "month|attempt|device|replica|machine|library|task|job|process|target|key"
)

COMPARED = r"longer\b|more\b|less\b|fewer\b|different\b|\w+er than\b"

HABITS = {
    # "There is no champion" is good English, and so are comparisons.
    rf"(?<!there )\b(?:is|are|was|were) no (?!{COMPARED})\w+": "is not a",
    rf"(?<!each )(?<!every )(?<!the )(?<!\ba )(?<!an )(?<!its )\b(?:{COUNTED}) a (?:{UNITS})\b": "per",
    r"\b(?:go|goes|going|went) on\b": "resumes, continues",
    r"\bso many\b": "this many; or name the number",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\bst(?:and|ands|anding|ood) (?:in(?! for\b)|beside|below|above|there)\b": "is in, are next to",
    r"\b(?:isn't|aren't|is not|are not|wasn't) (?:here|there)\b": "is missing; that you don't have at hand",
    r"\bmade (?:images?|pictures?|photographs?|data)\b": "synthetic",
    r"\bas whom\b": "the service account that … runs as",
    r"\bby falling\b": "by descending",
    r"\bcomes? twice\b": "duplicate",
    r"\b(?:is|are|was|were|be) (?:said|told)\b": "the report states; name who does it",
    r"\bagain and again\b": "repeatedly, on a schedule",
    r"\bthe bridge\b": "workaround",
    r"\bend(?:s|ed)? well\b": "succeed",
    r"\bwould be another(?: one)?\b": "would no longer be comparable",
    r"\bwhat (?:its text )?travels\b": "what is sent",
    r"\b(?:to be|be|was|were) had\b": "available",
    r"\bbeside\b": "next to, in addition to, while",
    r"\bwhoever\b": "anyone who; name the person",
    r"\bfor ever\b": "without limit, endlessly",
    r"\banew\b": "again, re…",
    r"\bundisturbed\b": "uninterrupted",
}
"""Pattern to what a native speaker would write."""

BEGINNINGS = {r"Of (?:a|an|the|each|every|its|one|all|plain|what)\b": "name the thing: Number of …"}
"""The same for how a docstring begins."""

GOOD: tuple[str, ...] = ()
"""Phrases that a pattern matches and that are good English all the same."""


def documents() -> list[Path]:
    return [
        *(
            REPOSITORY / name
            for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "infra/README.md")
        ),
        *sorted((REPOSITORY / "docs").glob("*.md")),
        *sorted((REPOSITORY / "trainer" / "configs").glob("*.yaml")),
    ]


def sources() -> list[Path]:
    return [path for package in (*PACKAGES, "benchmarks") for path in sorted((REPOSITORY / package).rglob("*.py"))]


Line = tuple[int, str]
"""Its number, and its text."""


def hits_in_lines(lines: Sequence[Line]) -> Iterator[tuple[int, str, str]]:
    """(line, what was found, what to write). A phrase may run over the end of a line."""
    words = [(number, word) for number, line in lines for word in line.split()]
    text = " ".join(word for _, word in words)
    starts = list(accumulate((len(word) + 1 for _, word in words), initial=0))
    for pattern, instead in HABITS.items():
        for found in re.finditer(pattern, text, re.IGNORECASE):
            if found[0] not in GOOD:
                yield words[bisect_right(starts, found.start()) - 1][0], found[0], instead


def hits_in_text(text: str) -> Iterator[tuple[int, str, str]]:
    # A comment of YAML or make runs over the end of a line as well.
    yield from hits_in_lines([(n, line.strip().removeprefix("#")) for n, line in enumerate(text.split("\n"), 1)])


def prose(source: str) -> Iterator[list[Line]]:
    """Every comment and every string of a Python file; neighbours of a kind are joined, as they are read."""
    strings = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    piece: list[Line] = []
    last = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.STRING if token.type in strings else token.type
        if kind == tokenize.NL:
            continue
        if kind != last and piece:
            yield piece
            piece = []
        last = kind
        if kind in (tokenize.STRING, tokenize.COMMENT):
            text = QUOTES.sub("", token.string) if kind == tokenize.STRING else token.string.lstrip("#: ")
            piece += enumerate(text.replace("\\n", " ").split("\n"), token.start[0])


QUOTES = re.compile(r"""^[rbfuRBFU]{0,2}("{3}|'{3}|"|')|("{3}|'{3}|"|')$""")


def hits_in_python(source: str) -> Iterator[tuple[int, str, str]]:
    for lines in prose(source):
        yield from hits_in_lines(lines)
    if not any(re.search(pattern, source) for pattern in BEGINNINGS):
        return  # spares most files the parser
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for pattern, instead in BEGINNINGS.items():
                if re.match(pattern, node.value.value.lstrip('"')):
                    yield node.lineno, node.value.value.split("\n")[0][:60], instead


def hits(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    found = hits_in_python(text) if path.suffix == ".py" else hits_in_text(text)
    name = path.resolve().relative_to(REPOSITORY)
    return [f"{name}:{line}: {phrase!r}: write {instead!r}" for line, phrase, instead in sorted(set(found))]


@pytest.mark.parametrize("found", [documents, sources])
def test_files(found: Callable[[], list[Path]]) -> None:
    assert len(found()) > 10
    assert [hit for path in found() for hit in hits(path)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("there is no champion, and a run is no longer watched", []),
        ("it is no slower than before", []),
        ("a text that is no JSON", ["is no JSON"]),
        ("the file is no folder", ["is no folder"]),
        ("prints one line a stage", ["line a stage"]),
        ("give each image a name", []),
        ("one line per stage", []),
        ("the same command\n  goes on", ["goes on"]),
        ("# a folder below it that\n# goes\n# on", ["goes on"]),
        ("a clock that stands in for the real one", []),
        ("a file that stands\nbeside it", ["stands beside", "beside"]),
    ],
)
def test_the_rule_sees_text(text: str, found: list[str]) -> None:
    assert [phrase for _, phrase, _ in hits_in_text(text)] == found


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("x = 1  # it goes on", [1]),
        ("# the work\n# goes on here\nx = 1", [2]),
        ('x = (\n    "the work goes "\n    "on here"\n)', [2]),
        ('x = f"{1} goes on"', [1]),
        ('def f():\n    """Of the thing."""', [2]),
        ('class C:\n    x: int\n    """Of each."""', [3]),
        ('def f():\n    """Offsets."""', []),
        ("goes_on = 1", []),
    ],
)
def test_the_rule_sees_python(source: str, lines: list[int]) -> None:
    assert [line for line, _, _ in hits_in_python(source)] == lines


if __name__ == "__main__":
    every = [Path(name) for name in sys.argv[1:]] or [*documents(), *sources()]
    listed: Sequence[str] = [hit for path in every if path.exists() for hit in hits(path)]
    print("\n".join(listed))
    print(f"{len(listed)} hits", file=sys.stderr)
