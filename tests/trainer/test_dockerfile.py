"""The images' recipe: its rules, and its install steps, which are run without a container engine.

There is no linter to install here that needs no engine and no download, so the rules that matter are tests.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.targets import TARGETS

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "trainer" / "Dockerfile"
FINAL = ("cpu", "gpu", "tpu", "beam")
KNOWN = {"ARG", "FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "ENTRYPOINT"}


def stages() -> dict[str, list[tuple[str, str]]]:
    """Stage name to its (instruction, rest) pairs; what stands before the first stage is under ""."""
    found: dict[str, list[tuple[str, str]]] = {"": []}
    current = ""
    for line in DOCKERFILE.read_text().replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        assert word in KNOWN, line
        if word == "FROM":
            parent, _, current = rest.partition(" AS ")
            assert current, f"{line}: every stage has a name"
            found[current] = [("FROM", parent)]
        else:
            found[current].append((word, rest))
    return found


def lineage(name: str) -> list[tuple[str, str]]:
    """Instructions of the stage and of those that it starts from, oldest first."""
    every = stages()
    parent = every[name][0][1]
    return (lineage(parent) if parent in every else []) + every[name][1:]


def test_base_images_have_exact_tags() -> None:
    for word, rest in stages()[""]:
        assert word == "ARG"
        assert re.search(r":\d+\.\d+\.\d+(-[a-z-]+)*(@sha256:[0-9a-f]{64})?$", rest), rest


def test_versions_are_those_of_the_lock() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text()
    text = DOCKERFILE.read_text()
    beam = re.search(r"_sdk:(\S+)", text)
    assert beam
    assert f"apache-beam=={beam[1]}\n" in lock
    uv = re.search(r"^UV_VERSION := (\S+)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert uv
    assert f"uv=={uv[1]}" in text
    tensorflow = re.search(r"^tensorflow==(\S+)", lock, re.MULTILINE)
    assert tensorflow
    assert f"tensorflow-tpu=={tensorflow[1]}\n" in (REPOSITORY / "trainer" / "requirements-tpu.lock").read_text()


@pytest.mark.parametrize("name", FINAL)
def test_an_image_is_not_run_by_root_and_holds_bytecode_and_code(name: str) -> None:
    steps = lineage(name)
    users = [rest for word, rest in steps if word == "USER"]
    assert users == ["trainer"]
    copied = [rest for word, rest in steps if word == "COPY"]
    for package in ("beam_preprocess", "components", "pipeline", "trainer"):
        assert f"{package} ./{package}" in copied
    assert any("compileall" in rest for word, rest in steps if word == "RUN")
    source = re.search(r"--from=(build-\w+) /opt/venv", " ".join(copied))
    assert source
    assert "UV_COMPILE_BYTECODE=1" in " ".join(rest for word, rest in lineage(source[1]) if word == "ENV")
    entry = [rest for word, rest in steps if word == "ENTRYPOINT"]
    assert entry == (['["/opt/apache/beam/boot"]'] if name == "beam" else [])


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name, steps in stages().items():
        for word, rest in steps:
            if word == "COPY" and "--from" not in rest:
                for source in rest.split()[:-1]:
                    assert (REPOSITORY / source).exists(), f"{name}: {source}"
                    assert source.split("/")[0] in allowed, f"{name}: {source}"


def test_cloud_build_builds_and_pushes_the_images_of_the_targets() -> None:
    build = yaml.safe_load((REPOSITORY / "cloudbuild.yaml").read_text())
    built = []
    for step in build["steps"]:
        flags = dict(zip(step["args"][1:-1:2], step["args"][2:-1:2], strict=True))
        assert flags["--file"] == "trainer/Dockerfile"
        assert flags["--tag"].split("/")[-1] == f"python-{flags['--target']}:${{_VERSION}}"
        built.append(flags["--tag"])
    assert sorted(built) == sorted(build["images"])
    assert len(built) == len(FINAL)
    names = {tag.split("/")[-1].split(":")[0] for tag in built}
    assert {target.image.split("/")[-1].split(":")[0] for target in TARGETS.values()} <= names


def install_steps(name: str) -> list[list[str]]:
    """The `uv pip install` commands of a build stage."""
    return [shlex.split(rest) for word, rest in lineage(name) if word == "RUN" and "uv pip install" in rest]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "real", "has", "lacks"),
    [
        ("build-cpu", True, "tensorflow==2.20.0", "tensorflow-tpu"),
        ("build-gpu", False, "nvidia-cudnn-cu12==", "tensorflow-tpu"),
        ("build-tpu", False, "tensorflow-tpu==2.20.0", "tensorflow==2"),
    ],
)
def test_install_steps_in_an_empty_environment(tmp_path: Path, name: str, real: bool, has: str, lacks: str) -> None:
    """As in the image, but uv's place, and a dry run for the images of gigabytes of device libraries."""
    uv = shutil.which("uv") or str(REPOSITORY / ".uv" / "bin" / "uv")
    if not Path(uv).exists():
        pytest.skip("uv is not installed: make setup")
    for file in [REPOSITORY / "requirements.lock", *(REPOSITORY / "trainer").glob("*.lock")]:
        shutil.copy(file, tmp_path)
    shutil.copy(REPOSITORY / "trainer" / "tpu-override.txt", tmp_path)
    environment = {**os.environ, "VIRTUAL_ENV": str(tmp_path / "venv"), "UV_LINK_MODE": "hardlink"}
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, "venv"], cwd=tmp_path, check=True)
    commands = install_steps(name)
    assert commands
    output = ""
    for command in commands:
        assert command[0] == "/opt/uv/bin/uv"
        flags = [] if real else ["--dry-run"]
        process = subprocess.run(
            [uv, *command[1:], *flags], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert process.returncode == 0, process.stderr[-2000:]
        output += process.stderr
    assert f" + {has}" in output
    assert f" + {lacks}" not in output
    if real:
        program = "import tensorflow, kfp, apache_beam, official.core.train_lib"
        subprocess.run([tmp_path / "venv" / "bin" / "python", "-c", program], check=True, capture_output=True)
