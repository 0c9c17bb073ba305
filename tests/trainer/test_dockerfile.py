"""The Dockerfile: a linter's rules and our own, and its install steps, run without a container engine.

tests/e2e/test_container_images.py builds an image where an engine and a base image are at hand.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from pipeline.graph.custom_job import LIBTPU
from pipeline.graph.custom_job import environment as training_environment
from pipeline.graph.targets import TARGETS

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "trainer" / "Dockerfile"
FINAL = ("cpu", "gpu", "tpu", "beam", "serve")
KNOWN = {"ARG", "FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "ENTRYPOINT"}


def stages() -> dict[str, list[tuple[str, str]]]:
    """Stage name to its (instruction, rest) pairs; instructions before the first stage are under ""."""
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
    """Instructions of the stage and of the stages it is based on, oldest first."""
    every = stages()
    parent = every[name][0][1]
    return (lineage(parent) if parent in every else []) + every[name][1:]


HADOLINT = Path(sys.executable).with_name("hadolint")


def lint(path: Path) -> tuple[int, str]:
    process = subprocess.run([HADOLINT, "--no-color", path], capture_output=True, text=True, check=False)
    return process.returncode, process.stdout + process.stderr


def test_the_linter_finds_nothing() -> None:
    assert lint(DOCKERFILE) == (0, "")


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ("python:3.11.14-slim-bookworm", "python", "DL3006"),
        ("USER 1000", "USER trainer", "DL3066"),
        ("WORKDIR /app", "WORKDIR app", "DL3000"),
        ("COPY --from=build-cpu", "COPY --from=build-gone", "DL3022"),
    ],
)
def test_the_linter_sees_what_is_wrong(tmp_path: Path, right: str, wrong: str, rule: str) -> None:
    text = DOCKERFILE.read_text()
    assert right in text
    # The linter doesn't expand ARGs, so the base image's name replaces its ARG.
    text = text.replace("${PYTHON_IMAGE}", "python:3.11.14-slim-bookworm")
    path = tmp_path / "Dockerfile"
    path.write_text(text.replace(right, wrong))
    code, output = lint(path)
    assert code == 1
    assert rule in output


def test_base_images_have_exact_tags() -> None:
    for word, rest in stages()[""]:
        assert word == "ARG"
        assert re.search(r":\d+\.\d+\.\d+(-[a-z-]+)*(@sha256:[0-9a-f]{64})?$", rest), rest


def test_versions_are_those_of_the_lock() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text()
    text = DOCKERFILE.read_text()
    beam = re.search(r"_sdk:(\S+)", text)
    assert beam
    assert f"apache-beam=={beam[1]} \\\n" in lock
    uv = re.search(r"^UV_VERSION := (\S+)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert uv
    assert f"uv=={uv[1]} \\\n" in (REPOSITORY / "requirements-uv.lock").read_text()
    tensorflow = re.search(r"^tensorflow==(\S+)", lock, re.MULTILINE)
    assert tensorflow
    assert f"tensorflow-tpu=={tensorflow[1]} \\\n" in (REPOSITORY / "trainer" / "requirements-tpu.lock").read_text()


LOCKS = sorted(
    path.relative_to(REPOSITORY) for path in (*REPOSITORY.glob("*.lock"), *REPOSITORY.glob("trainer/**/*.lock"))
)


@pytest.mark.parametrize("lock", LOCKS, ids=str)
def test_every_locked_package_has_a_version_and_hashes_and_no_address(lock: Path) -> None:
    text = (REPOSITORY / lock).read_text().replace("\\\n", " ")
    packages = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert packages
    entry = r"[a-z0-9][a-z0-9._-]*(\[[a-z,-]+\])?==[^\s;]+( ; [^\\]+?)?( +--hash=sha256:[0-9a-f]{64})+"
    assert [line[:80] for line in packages if not re.fullmatch(entry, line)] == []
    assert "://" not in text


def test_there_is_a_lock_for_every_environment() -> None:
    names = {str(lock) for lock in LOCKS}
    assert names == {
        *("requirements.lock", "requirements-dev.lock", "requirements-uv.lock", "trainer/aot/requirements-aot.lock"),
        *("trainer/requirements-gpu.lock", "trainer/requirements-tpu.lock"),
        "trainer/serving/requirements-serve.lock",
    }


def test_every_installation_checks_the_hashes() -> None:
    """Images, `make setup`, and the environments of `centernet aot` and `centernet serve`."""
    sources = {name: (REPOSITORY / name).read_text() for name in ("Makefile", "trainer/Dockerfile")}
    installing = [
        line
        for text in sources.values()
        for line in text.splitlines()
        if re.search(r"pip (install|sync) ", line) and "--no-deps --no-build-isolation --editable" not in line
    ]
    assert len(installing) == 7
    assert [line for line in installing if "--require-hashes" not in line] == []
    code = (REPOSITORY / "trainer" / "shared" / "own_environment.py").read_text()
    assert '"sync", "--quiet", "--require-hashes"' in code


def test_the_tpu_image_has_libtpu_where_training_looks_for_it() -> None:
    assert ("RUN", f"ln -s /opt/venv/lib/python3.11/site-packages/libtpu/libtpu.so {LIBTPU}") in lineage("tpu")


@pytest.mark.parametrize("name", FINAL)
def test_an_image_but_dataflows_does_not_run_as_root_and_holds_bytecode_and_code(name: str) -> None:
    steps = lineage(name)
    defaults = dict(rest.split("=", 1) for word, rest in steps if word == "ARG")
    users = [defaults.get(rest.strip("${}"), rest) for word, rest in steps if word == "USER"]
    # A number: a cluster that forbids root can't resolve a name. Dataflow's workers write to folders that root owns.
    assert users == ([] if name == "beam" else ["1000"])
    assert any("useradd" in rest and "--uid 1000" in rest for word, rest in steps if word == "RUN")
    copied = [rest for word, rest in steps if word == "COPY"]
    for package in ("beam_preprocess", "components", "pipeline", "trainer"):
        assert f"{package} ./{package}" in copied
    assert any("compileall" in rest for word, rest in steps if word == "RUN")
    source = re.search(r"--from=(build-\w+) /opt/venv", " ".join(copied))
    assert source
    assert "UV_COMPILE_BYTECODE=1" in " ".join(rest for word, rest in lineage(source[1]) if word == "ENV")
    entry = [rest for word, rest in steps if word == "ENTRYPOINT"]
    assert entry == (['["/opt/apache/beam/boot"]'] if name == "beam" else [])


BOOT_ASKS = ["python", "-m", "pip", "show", "apache-beam"]
"""What Beam's boot program runs before it starts a worker (`isPackageInstalled` in Beam's sdks/python/container). Boot
fails if this fails, and if it can't create its own environment below /opt."""


def test_beams_boot_uses_the_images_environment(tmp_path: Path) -> None:
    steps = lineage("beam")
    assert "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in [rest for word, rest in steps if word == "ENV"]
    # Its python is that of the image's /opt/venv. uv created it, so it has no pip.
    subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, "venv"], cwd=tmp_path, check=True)
    environment = {**os.environ, "PATH": f"{tmp_path}/venv/bin{os.pathsep}{os.environ['PATH']}"}
    packages = Path(sys.executable).parents[1] / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    (beam,) = packages.glob("apache_beam-*.dist-info")
    (tmp_path / "venv" / packages.relative_to(packages.parents[2]) / beam.name).symlink_to(beam)

    def boot_finds_beam() -> bool:
        asked = subprocess.run(BOOT_ASKS, env=environment, cwd=tmp_path, capture_output=True, check=False)
        return asked.returncode == 0

    assert not boot_finds_beam()
    for word, rest in stages()["beam"]:
        if word == "RUN":
            subprocess.run(shlex.split(rest), env=environment, cwd=tmp_path, check=True, capture_output=True)
    assert boot_finds_beam()


def test_copied_files_exist_and_are_not_ignored() -> None:
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


def test_make_images_builds_and_pushes_each_stage(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "docker $*"\n')
    docker.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    def make(*variables: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--silent", "--no-print-directory", "images", *variables]
        return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)

    refused = make()
    assert refused.returncode == 2
    assert "IMAGE_REPOSITORY: not given" in refused.stdout
    done = make("IMAGE_REPOSITORY=example.com/mine", "IMAGE_VERSION=1.2.3")
    assert done.returncode == 0, done.stderr
    expected = []
    for stage in FINAL:
        tag = f"example.com/mine/python-{stage}:1.2.3"
        expected += [f"docker build --file trainer/Dockerfile --target {stage} --tag {tag} .", f"docker push {tag}"]
    assert done.stdout.splitlines() == expected


def test_make_images_local_builds_what_is_asked_for_with_the_engine_that_answers(tmp_path: Path) -> None:
    programs = ("bash", "sed", "env", "sh")
    for program in programs:
        (tmp_path / program).symlink_to(str(shutil.which(program)))

    def make(*variables: str) -> subprocess.CompletedProcess[str]:
        command = [str(shutil.which("make")), "--silent", "--no-print-directory", "images-local", *variables]
        environment = {"PATH": str(tmp_path)}
        return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)

    def engine(name: str, answers: bool) -> None:
        answer = f'echo "{name} $*"' if answers else "exit 1"
        (tmp_path / name).write_text(f'#!/bin/sh\n[ "$1" = info ] && echo host\n{answer}\n')
        (tmp_path / name).chmod(0o755)

    refused = make()
    assert refused.returncode == 2
    assert "error: none of docker podman buildah answers: install one" in refused.stderr
    engine("docker", answers=False)
    engine("buildah", answers=True)
    done = make("IMAGE_VERSION=1.2.3")
    rest = "--file trainer/Dockerfile --target cpu --tag localhost/python-cpu:1.2.3 ."
    assert done.stdout.splitlines() == [f"buildah build --layers {rest}"]
    engine("podman", answers=True)
    done = make("IMAGES=gpu tpu", "IMAGE_VERSION=1", "PYTHON_IMAGE=mine:3")
    rest = "--build-arg PYTHON_IMAGE=mine:3 --tag localhost/python-"
    assert done.stdout.splitlines() == [
        f"podman build --file trainer/Dockerfile --target {kind} {rest}{kind}:1 ." for kind in ("gpu", "tpu")
    ]


def test_what_the_images_leave_out_is_locked_and_is_not_imported_here() -> None:
    """A name that nothing installs would be a stale line; a module of ours that imports one would fail in the image."""
    script = (REPOSITORY / "trainer" / "trim-image.sh").read_text()
    (names,) = re.findall(r"uv pip uninstall (.+)", script)
    lock = (REPOSITORY / "requirements.lock").read_text()
    assert [name for name in names.split() if f"\n{name}==" not in lock] == []
    modules = "|".join(name.replace("-", "_").removeprefix("lib") for name in names.split())
    ours = [
        path
        for package in ("beam_preprocess", "components", "pipeline", "trainer")
        for path in (REPOSITORY / package).rglob("*.py")
    ]
    assert [
        path for path in ours if re.search(rf"^\s*(import|from) ({modules})\b", path.read_text(), re.MULTILINE)
    ] == []


def install_steps(name: str) -> list[list[str]]:
    """The `uv pip install` commands of a build stage."""
    return [shlex.split(rest) for word, rest in lineage(name) if word == "RUN" and "uv pip install" in rest]


INSTALLED = {
    "build-cpu": ("tensorflow==2.20.0", "tensorflow-tpu"),
    "build-gpu": ("nvidia-cudnn-cu12==", "tensorflow-tpu"),
    "build-tpu": ("tensorflow-tpu==2.20.0", "tensorflow==2"),
}
"""A build stage to a package that it installs and one that it must not install."""

IMPORTS = """
import tensorflow, kfp, apache_beam, official.core.train_lib, google.cloud.aiplatform
print(tensorflow.__version__, tensorflow.test.is_built_with_cuda())
"""


def test_every_image_uses_one_of_the_install_stages() -> None:
    sources = {name: re.findall(r"--from=(build-\w+)", str(lineage(name))) for name in FINAL}
    of_cpu = {name: ["build-cpu"] for name in ("cpu", "beam", "serve")}
    assert sources == of_cpu | {"gpu": ["build-gpu"], "tpu": ["build-tpu"]}


def uv() -> str:
    """Path of uv on this machine."""
    found = shutil.which("uv") or str(REPOSITORY / ".uv" / "bin" / "uv")
    if not Path(found).exists():
        pytest.skip("uv is not installed: make setup")
    return found


def install(name: str, folder: Path, *flags: str) -> str:
    """Runs the stage's install steps in an empty environment `folder`/venv, as in the image except for uv's path.

    Returns uv's output, which lists the packages.
    """
    for file in [*REPOSITORY.glob("requirements*.lock"), *(REPOSITORY / "trainer").glob("*.lock")]:
        shutil.copy(file, folder)
    shutil.copy(REPOSITORY / "trainer" / "tpu-override.txt", folder)
    environment = {**os.environ, "VIRTUAL_ENV": str(folder / "venv"), "UV_LINK_MODE": "hardlink"}
    environment |= {"CC": "false", "CXX": "false"}  # the slim image has no compiler
    subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, "venv"], cwd=folder, check=True)
    commands = install_steps(name)
    assert commands
    output = ""
    for command in commands:
        assert command[0] == "/opt/uv/bin/uv"
        process = subprocess.run(
            [uv(), *command[1:], *flags], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert process.returncode == 0, process.stderr[-2000:]
        output += process.stderr
    return output


def assert_installs(name: str, output: str) -> None:
    has, lacks = INSTALLED[name]
    assert f" + {has}" in output
    assert f" + {lacks}" not in output


@pytest.mark.slow
@pytest.mark.parametrize("name", INSTALLED)
def test_install_steps_resolve(tmp_path: Path, name: str) -> None:
    assert_installs(name, install(name, tmp_path, "--dry-run"))


@pytest.mark.slow
@pytest.mark.parametrize("name", INSTALLED)
def test_install_steps_in_an_empty_environment(name: str) -> None:
    """Downloads 3 GB for cpu, 4 GB for tpu, 8 GB for gpu, removed at the end. TensorFlow must start in each."""
    with tempfile.TemporaryDirectory() as folder:
        assert_installs(name, install(name, Path(folder)))
        python = Path(folder) / "venv" / "bin" / "python"
        # As in the steps of TPU targets that run without a TPU.
        environment = {**os.environ, "TPU_SKIP_MDS_QUERY": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        process = subprocess.run(
            [python, "-c", IMPORTS], env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert process.returncode == 0, process.stderr[-2000:]
        if name == "build-tpu":
            assert_pjrt(python, environment)
        version, cuda = process.stdout.split()[-2:]
        assert version == "2.20.0"
        assert cuda == str(name != "build-tpu")
        installed = {line.split("==")[0].lower().replace("_", "-") for line in listed(python)}
        assert "kfp" in installed
        assert len(installed & {"tensorflow", "tensorflow-tpu"}) == 1


def assert_pjrt(python: Path, environment: dict[str, str]) -> None:
    """TensorFlow takes libtpu as its PJRT plugin, with the variables of training on v5e."""
    (libtpu,) = python.parents[1].glob("lib/python3*/site-packages/libtpu/libtpu.so")
    variables = training_environment(TARGETS["vertex-tpu-v5e"]) | {"TF_PLUGGABLE_DEVICE_LIBRARY_PATH": str(libtpu)}
    variables |= {"TF_CPP_MIN_LOG_LEVEL": "0"}
    process = subprocess.run(
        [python, "-c", "import tensorflow"],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert "PJRT_Api is set for device type tpu" in process.stderr


def listed(python: Path) -> list[str]:
    program = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()), sep='\\n')"
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.split()
