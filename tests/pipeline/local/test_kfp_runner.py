"""kfp's local runner behaves as `pipeline.local.kfp_runner` expects.

If a test here fails after an upgrade of kfp: read the description of the habit in the module's docstring, look at the
file of kfp that the test names, and change the adapter. Nothing else of the project knows about these habits.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.local import kfp_runner
from tests.e2e.tiny_run import REPOSITORY, link_environment

TEXT = 'python3 says it\'s "quoted", naïve $HOME'
"""kfp replaces the first word, and passes the text through JSON and a shell."""

PROGRAM = """
import json, sys
from pathlib import Path
from kfp import dsl
from pipeline.local import kfp_runner

def tell(text: str, output: dsl.Output[dsl.Artifact]) -> str:
    import sys
    from pathlib import Path
    Path(output.uri).write_text(text)
    print("interpreter " + sys.executable)
    print("text " + text)
    return text

def fail(text: str) -> str:
    raise ValueError(text)

component = {name: dsl.component(function, base_image="example.com/none:1", install_kfp_package=False)
             for name, function in (("tell", tell), ("fail", fail))}

@dsl.pipeline(name="probe")
def probe(text: str):
    first = component["tell"](text=text).set_display_name("tell it").set_caching_options(True)
    second = component[sys.argv[2]](text=first.outputs["Output"]).set_display_name("again").set_caching_options(False)

class Listener:
    def __init__(self):
        self.lines, self.hits = [], []
    def line(self, text, *, by_stage):
        self.lines.append((text, by_stage))
    def reused(self, stage, key):
        self.hits.append((stage, key))

listener, error = Listener(), ""
before = (sys.executable, sys.stdout)
try:
    kfp_runner.run(probe, {"text": sys.argv[1]}, pipeline_root=Path("root"), cache=Path("cache"), listener=listener)
except kfp_runner.PipelineFailed as failed:
    error = str(failed)
assert before == (sys.executable, sys.stdout)
print(json.dumps({"lines": listener.lines, "hits": listener.hits, "error": error}))
"""


@dataclass(frozen=True)
class Probed:
    """What a listener got."""

    lines: list[tuple[str, bool]]
    hits: list[tuple[str, str]]
    error: str

    def by_stages(self) -> list[str]:
        return [text for text, by_stage in self.lines if by_stage]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose path breaks kfp's shell text, with an environment in it."""
    made = tmp_path_factory.mktemp("made") / "naïve café" / "a b's $HOME python3"
    made.mkdir(parents=True)
    link_environment(made / "an env")
    (made / "probe.py").write_text(PROGRAM)
    return made


def probe(folder: Path, then: str) -> Probed:
    process = subprocess.run(
        [folder / "an env" / "bin" / "python", "probe.py", TEXT, then],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    found = json.loads(process.stdout.splitlines()[-1])
    return Probed(
        lines=[(text, by_stage) for text, by_stage in found["lines"]],
        hits=[(stage, key) for stage, key in found["hits"]],
        error=found["error"],
    )


@pytest.fixture(scope="module")
def first(folder: Path) -> Probed:
    return probe(folder, "tell")


def test_any_path_of_the_interpreter_and_any_text_reach_the_task(first: Probed, folder: Path) -> None:
    """Look at kfp/local/subprocess_task_handler.py: replace_python_executable and environment."""
    assert first.error == ""
    assert first.by_stages().count(f"text {TEXT}") == 2, "the text is as the user wrote it"
    (interpreter,) = {line for line in first.by_stages() if line.startswith("interpreter ")}
    assert interpreter == f"interpreter {folder}/an env/bin/python"


def test_lines_have_no_colours_and_a_tasks_own_are_known(first: Probed) -> None:
    """Look at kfp/local/logging_utils.py: color_text and indented_print."""
    texts = [text for text, _ in first.lines]
    assert not any("\x1b" in text for text in texts)
    assert any("Executing task 'tell'" in text for text in texts)
    assert not any("Executing task" in text for text in first.by_stages())


def test_a_task_that_the_cache_answers_is_reported_by_its_display_name(first: Probed, folder: Path) -> None:
    """Look at kfp/local/orchestrator/task_executor.py for the log message, and kfp/local/cache.py for the key."""
    assert first.hits == [], "an empty cache"
    ((stage, key),) = probe(folder, "tell").hits
    assert stage == "tell it"
    (entry,) = (folder / "cache").glob("*.json")
    assert entry.name.startswith(key)


def test_a_task_that_fails_ends_the_pipeline_and_is_named(folder: Path) -> None:
    """Look at kfp/local/pipeline_orchestrator.py for the message."""
    failed = probe(folder, "fail")
    assert "'fail'" in failed.error
    assert "\x1b" not in failed.error
    assert any(line.startswith("ValueError: ") for line in failed.by_stages()), "the traceback is in the log"


@pytest.mark.parametrize("given", [{}, {"_KFP_RUNTIME": "false"}], ids=str)
def test_kfp_is_loaded_without_its_client(given: dict[str, str]) -> None:
    """Look at kfp/__init__.py: _KFP_RUNTIME."""
    program = (
        f"import os, sys\nos.environ |= {given}\nfrom pipeline.local import kfp_runner\nkfp_runner.load()\n"
        f"assert os.environ.get('_KFP_RUNTIME') == {given.get('_KFP_RUNTIME')!r}, 'children inherit it'\n"
        "print([name for name in ('kfp.client', 'kubernetes', 'google.auth') if name in sys.modules])\n"
        "from kfp.client import Client\n"
    )
    process = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert process.stdout == "[]\n", process.stderr


class Kept:
    def __init__(self) -> None:
        self.lines: list[tuple[str, bool]] = []

    def line(self, text: str, *, by_stage: bool) -> None:
        self.lines.append((text, by_stage))

    def reused(self, stage: str, key: str) -> None:
        raise AssertionError


def test_a_container_is_started_by_our_function_whose_code_counts(tmp_path: Path) -> None:
    """Look at kfp/local/docker_task_handler.py: DockerTaskHandler.run, full_command and env_vars."""
    pytest.importorskip("docker", reason="Python's package docker is not installed")
    from kfp import dsl
    from kfp.local.docker_task_handler import DockerTaskHandler

    def act(text: str) -> None: ...

    component = dsl.component(act, base_image="example.com/none:1", install_kfp_package=False)

    @dsl.pipeline(name="probe")
    def probe() -> None:
        first = component(text="one").set_env_variable("LIMIT", "3")
        component(text="two").after(first).set_display_name("again")

    codes, started = [0, 7], []

    def start(command: Sequence[str], variables: Mapping[str, str]) -> int:
        started.append((" ".join(command), dict(variables)))
        print("in the container")
        return codes[len(started) - 1]

    own, listener = DockerTaskHandler.run, Kept()
    with pytest.raises(kfp_runner.PipelineFailed, match="act-2"):
        kfp_runner.run(probe, {}, pipeline_root=tmp_path, cache=None, listener=listener, start=start)
    assert DockerTaskHandler.run is own
    assert [variables for _, variables in started] == [{"LIMIT": "3"}, {}]
    assert '"text": "one"' in started[0][0]
    assert listener.lines.count(("in the container", True)) == 2


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_the_pieces_that_kfp_writes_do_not_matter(size: int) -> None:
    text = "Executing \x1b[96m'a'\x1b[0m\n    of the stage\n\nlast"
    listener = Kept()
    stream = kfp_runner._Lines(listener)
    for start in range(0, len(text), size):
        stream.write(text[start : start + size])
    stream.close()
    assert listener.lines == [("Executing 'a'", False), ("of the stage", True), ("", False), ("last", False)]


def test_only_cache_hits_are_taken_from_the_log() -> None:
    hits: list[tuple[str, str]] = []
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    with kfp_runner._cache_hits(lambda task, key: hits.append((task, key))):
        logging.info("Task train cache hit (key=0123456789ab); skipping execution.")
        logging.info("Task train has no outputs")
    assert hits == [("train", "0123456789ab")]
    assert (root.level, root.handlers) == before


def test_a_folder_of_temporary_files_without_programs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # as on a file system that is mounted noexec
    with pytest.raises(kfp_runner.InputError, match="TMPDIR"), kfp_runner._python3():
        pass
