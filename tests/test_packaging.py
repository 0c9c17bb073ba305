"""The package, the command that it installs, the Makefile's set-up, and the one version of all of them."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from pipeline.commands.cli import VERBS
from trainer.shared.versions import VERSION

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("beam_preprocess", "components", "pipeline", "trainer")
BUILD = "import setuptools.build_meta as b, sys; b.build_wheel(sys.argv[1])"
"""What `pip wheel . --no-deps` runs, without its download of setuptools: the lock has it."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy, because a build leaves files in its folder."""
    source = tmp_path_factory.mktemp("wheel") / "a clone"
    source.mkdir()
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    process = subprocess.run(
        [sys.executable, "-c", BUILD, "out"], cwd=source, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr[-2000:]
    (found,) = (source / "out").glob("*.whl")
    return found


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    """Configurations, the report's template, prices and lock files as well as code; nothing of the tests."""
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(path.relative_to(REPOSITORY))
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in held if ".dist-info/" not in name} == wanted
    assert wheel.name.startswith(f"centernet_pipeline-{VERSION}-")


@pytest.mark.slow
def test_the_installed_command_works_outside_the_clone(wheel: Path, tmp_path: Path) -> None:
    """In an empty environment that borrows the locked dependencies. Its path has a space."""
    home = tmp_path / "an environment"
    venv.create(home, with_pip=True)
    install = [home / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, capture_output=True)
    packages = home / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    # After the installation: pip would take the developer's editable project for this one.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words: str) -> str:
        process = subprocess.run(
            [home / "bin" / "centernet", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr[-2000:]
        return process.stdout

    assert run("--version") == f"centernet {VERSION}\n"
    assert "pipeline service:" in run("--help")
    assert run("config", "check", "custom-small").strip().endswith("valid")
    where = subprocess.run(
        [home / "bin" / "python", "-c", "import pipeline; print(pipeline.__file__)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert where.startswith(str(packages)), "not the clone"


def project() -> dict[str, object]:
    content: dict[str, object] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return content


def test_the_script_is_the_command() -> None:
    assert project()["scripts"] == {"centernet": "pipeline.commands.cli:main"}
    assert "run" in VERBS


def test_one_version(tmp_path: Path) -> None:
    """The package, the images of make and of Cloud Build, and those that the targets name."""
    from pipeline.graph.targets import TARGETS

    assert project()["dynamic"] == ["version"]
    build = yaml.safe_load((REPOSITORY / "cloudbuild.yaml").read_text())
    assert build["substitutions"]["_VERSION"] == VERSION
    assert {target.image.rpartition(":")[2] for target in TARGETS.values()} == {VERSION}
    commands = make("--dry-run", "images", "IMAGE_REPOSITORY=example.com/mine").stdout
    assert f"python-$kind:{VERSION}" in commands
    for name in ("Makefile", "pyproject.toml"):
        found = re.findall(rf"(?<![\d.]){re.escape(VERSION)}(?![\d.])", (REPOSITORY / name).read_text())
        assert found == [], f"{name} repeats the version"


def make(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("system", "machine", "says"),
    [
        ("Linux", "x86_64", ""),
        ("Linux", "aarch64", ""),
        ("Darwin", "arm64", ""),
        ("Darwin", "x86_64", "error: macOS on Intel is not supported"),
        ("MINGW64_NT-10.0", "x86_64", "error: Windows is not supported; run make inside WSL 2"),
        ("FreeBSD", "amd64", "error: FreeBSD amd64 is not supported; use Linux (x86-64, arm64) or macOS (arm64)"),
    ],
)
def test_platforms(system: str, machine: str, says: str, tmp_path: Path) -> None:
    fake = tmp_path / "uname"
    fake.write_text(f'#!/bin/sh\ncase "$1" in -s) echo {system} ;; -m) echo {machine} ;; esac\n')
    fake.chmod(0o755)
    done = make("--silent", "platform", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    first = (done.stderr.splitlines() or [""])[0]
    assert first.startswith(says)
    assert bool(done.returncode) == bool(says)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What `make setup` reads, with a uv that only prints its arguments."""
    clone = tmp_path / "a clone"
    clone.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(REPOSITORY / name, clone)
    (clone / "trainer" / "shared").mkdir(parents=True)
    shutil.copy(REPOSITORY / "trainer" / "shared" / "versions.py", clone / "trainer" / "shared")
    (clone / ".uv" / "bin").mkdir(parents=True)
    uv = clone / ".uv" / "bin" / "uv"
    uv.write_text('#!/bin/sh\nmkdir -p .venv\necho "uv $*"\n')
    uv.chmod(0o755)
    return clone


def test_set_up_installs_the_project_after_the_lock(clone: Path) -> None:
    """A sync removes what is not in the lock, so also the project."""

    def set_up() -> list[str]:
        command = ["make", "--silent", "--no-print-directory", "setup"]
        done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [" ".join(line.split()[1:3]) for line in done.stdout.splitlines()]

    assert set_up() == ["venv --quiet", "pip sync", "pip install"]
    assert set_up() == [], "a second call does nothing"
    stamp = (clone / ".venv" / ".installed").stat().st_mtime
    for name in ("requirements-dev.lock", "pyproject.toml"):
        os.utime(clone / name, (stamp + 10, stamp + 10))
        assert set_up() == ["venv --quiet", "pip sync", "pip install"], name
        os.utime(clone / name, (stamp - 10, stamp - 10))


@pytest.mark.parametrize(
    ("configured", "prefix", "noted"),
    [
        ("'--enable-shared' '--enable-optimizations' '--with-lto'", "/opt/python", False),
        ("'--enable-shared'", "/usr", False),
        ("'--enable-shared'", "/home/me/.pyenv/versions/3.11.7", True),
        (None, "/opt/python", True),
    ],
)
def test_a_slow_python_is_noted(clone: Path, configured: str | None, prefix: str, noted: bool) -> None:
    python = clone / "python"
    start = (
        f"import sys, sysconfig; sysconfig.get_config_var = lambda name: {configured!r}; sys.base_prefix = {prefix!r}"
    )
    (clone / "start.py").write_text(f"{start}; exec(sys.argv[2])")
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" start.py "$@"\n')
    python.chmod(0o755)
    command = ["make", "--silent", "setup", f"PYTHON={python}"]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=True)
    assert ("this Python was compiled without optimization" in done.stderr) is noted, done.stderr
    assert f"installed for {python}" in done.stderr


@pytest.mark.parametrize("first", [True, False])
def test_an_optimized_python_is_preferred(clone: Path, first: bool) -> None:
    """The `python3` of the path is taken if it is optimized, and else the distribution's if there is one."""
    python = clone / "bin" / "python3"
    python.parent.mkdir()
    configured = "--enable-optimizations" if first else ""
    start = f"import sys, sysconfig; sysconfig.get_config_var = lambda name: {configured!r}; sys.base_prefix = '/opt'"
    (clone / "start.py").write_text(f"{start}; exec(sys.argv[2])")
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" start.py "$@"\n')
    python.chmod(0o755)
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    command = ["make", "--silent", "setup"]
    done = subprocess.run(
        command, cwd=clone, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    distribution = not first and Path("/usr/bin/python3.11").exists()
    assert f"--python {'/usr/bin/python3.11' if distribution else 'python3'} " in done.stdout
    assert ("without optimization" in done.stderr) is (not first and not distribution)
