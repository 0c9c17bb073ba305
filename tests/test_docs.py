"""The documents are true where a machine can see it: links, paths, commands, and the table of rooms."""

import re
import shlex
from pathlib import Path

import pytest

from tests.test_imports import BELOW

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    REPOSITORY / "infra" / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
VARIABLES = {
    "PROJECT": "my-project",
    "REGION": "us-central1",
    "BUCKET": "my-bucket",
    **{
        name.upper(): f"centernet-{name}@my-project.iam.gserviceaccount.com"
        for name in ("runner", "scheduler", "builder")
    },
    "TENSORBOARD": "projects/my-project/locations/us-central1/tensorboards/1234567890",
    "ME": "user:me@example.org",
    "IMAGES": "us-central1-docker.pkg.dev/my-project/centernet",
    "RUN": "centernet-training-1a2b3c4d-20261124-030000",
}
"""What docs/vertex.md exports."""
TAKES_BEAMS_FLAGS = {"preprocess", "score", "watch"}


def anchors(page: str) -> set[str]:
    """How GitHub names a page's headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(page: str) -> list[str]:
    """The shell lines of a page's fenced blocks, continued ones joined."""
    found = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    return [line for block in found for line in re.sub(r"\\\n\s*", " ", block).splitlines()]


def spans(page: str) -> list[str]:
    """Code within sentences."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL))


def commands(page: str) -> list[list[str]]:
    """The words of each `centernet VERB …` of a page; one that leaves something out, with "…", is none."""
    # Within a sentence, a verb without flags is a name: test_verbs_exist looks at it.
    lines = [*blocks(page), *(span for span in spans(page) if " -" in span)]
    filled = [re.sub(r"\$\{?(\w+)\}?", lambda name: VARIABLES.get(name[1], name[0]), line) for line in lines]
    parts = [part.strip() for line in filled for part in re.split(r"&&|;|\||\s>\s", re.split(r"\s#", line)[0])]
    return [shlex.split(part)[1:] for part in parts if re.match(r"centernet [a-z](?!.*…)", part)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if "://" in target or target.startswith("mailto:"):
            continue
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_exist(page: Path) -> None:
    """Files of the repository that a page names in backticks."""
    folders = "beam_preprocess|benchmarks|components|docs|infra|pipeline|tests|trainer"
    named = re.findall(rf"`((?:{folders})/[\w./-]+)`", page.read_text())
    assert [name for name in named if not (REPOSITORY / name).exists()] == []


@pytest.mark.usefixtures("example_profiles")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_parse(page: Path) -> None:
    from pipeline.commands.cli import VERBS

    for verb, *words in commands(page.read_text()):
        try:
            _, unknown = VERBS[verb].load().parser().parse_known_args(words)
        except SystemExit as stopped:
            if stopped.code:  # 0 is that of --help
                pytest.fail(f"centernet {shlex.join([verb, *words])}: does not parse")
        else:
            assert not unknown or verb in TAKES_BEAMS_FLAGS, (verb, *words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_verbs_exist(page: Path) -> None:
    from pipeline.commands.cli import VERBS

    text = page.read_text()
    shown = [line.split() for line in [*blocks(text), *spans(text)]]
    for verb in {words[1] for words in shown if words[:1] == ["centernet"] and len(words) > 1}:
        if verb.isidentifier() and verb.islower():
            assert verb in VERBS


def test_the_pages_show_commands() -> None:
    """An empty list would prove nothing."""
    shown = {words[0] for page in PAGES for words in commands(page.read_text())}
    assert shown >= {"run", "check", "preprocess", "train", "export", "gate", "submit", "schedule", "config"}
    page = "```bash\ncenternet run \\\n    --seed 1  # x\n```\n`centernet list`, `centernet run -v`, `centernet x -…`"
    assert commands(page) == [["run", "--seed", "1"], ["run", "-v"]]


def test_the_table_of_rooms_is_the_tests() -> None:
    """docs/architecture.md: a room may import the rooms of lower layers of its package, and the package's doors; some
    have one of their own."""
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    stated: dict[str, set[str]] = {}
    for section in re.split(r"^### ", page, flags=re.MULTILINE)[1:]:
        rows = re.findall(r"^\| (\d+) \| `([\w.]+)` \|", section, re.MULTILINE)
        doors: set[str] = set()
        for name in re.findall(r"`([\w.*]+)`", next(iter(re.findall(r"^Doors: (.*)$", section, re.MULTILINE)), "")):
            package = name.removesuffix(".*")
            doors |= {room for room in BELOW if room == package or (name != package and room.startswith(f"{package}."))}
        for layer, room in rows:
            stated[room] = doors | {other for number, other in rows if int(number) < int(layer)}
        for room, door in re.findall(r"^`([\w.]+)` alone also: `([\w.]+)`$", section, re.MULTILINE):
            stated[room] |= {door}
    assert stated == {room: set(below) for room, below in BELOW.items()}
