"""Real containers: builds the cpu image, and runs the graph of vertex-cpu in it as users do.

It needs an engine (Docker, or podman's socket in DOCKER_HOST), Python's package docker, and Python's base image on this
machine; where one is missing the tests are skipped, and say which.
"""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.local.containers import IMAGE
from tests.e2e.container_run import ContainerRun
from tests.e2e.containers import Container
from tests.e2e.tiny_run import CONFIG, REPOSITORY, Ran, make_data, pipeline, stage_lines
from tests.pipeline.graph.golden import compiled

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("images")]

BASES = ("localhost/python:3.11", "python:3.11.14-slim-bookworm")
"""Base images that would do: one that somebody made, or the Dockerfile's."""
USER = 1000
RUN = ("run", "--in-containers", "--coco-dir", "coco", "--config", "tiny.yaml")


@pytest.fixture(scope="module")
def client() -> Any:
    docker = pytest.importorskip("docker", reason="Python's package docker is not installed: pip install docker")
    try:
        found = docker.from_env(timeout=900)
        found.ping()
    except docker.errors.DockerException as error:
        pytest.skip(f"no container engine answers: {error}")
    return found


@pytest.fixture(scope="module")
def image(client: Any) -> str:
    """The cpu image, built from this tree."""
    tags = {tag for image in client.images.list() for tag in image.tags}
    base = next((name for name in BASES if {name, f"docker.io/library/{name}"} & tags), "")
    if not base:
        pytest.skip(f"no base image is at hand: none of {', '.join(BASES)}")
    built = subprocess.run(
        ["make", "--silent", "images-local", f"PYTHON_IMAGE={base}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return IMAGE


@pytest.fixture(scope="module")
def first(image: str, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run on tiny data, each stage in a container of its own."""
    folder = tmp_path_factory.mktemp("run")
    make_data(folder)
    process = pipeline(folder, *RUN)
    assert process.returncode == 0, process.stdout + process.stderr
    return Ran(folder, process)


MODULES = """
import importlib, os, pkgutil, sys
packages = ("beam_preprocess", "components", "pipeline", "trainer")
names = [m.name for p in packages for m in pkgutil.walk_packages([f"/app/{p}"], f"{p}.")]
skipped = [n for n in names if n.endswith("__main__") or n.startswith("trainer.aot")]
for name in [*(n for n in names if n not in skipped), *sys.argv[1:]]:
    importlib.import_module(name)
print(os.getuid(), len(names) - len(skipped))
"""
LATER = (
    *("gcsfs", "google.cloud.storage", "google.cloud.aiplatform", "pycocotools.coco"),
    *("apache_beam.runners.worker.sdk_worker_main", "apache_beam.io.gcp.gcsio", "apache_beam.runners.dataflow"),
    *("kfp.dsl.executor_main", "official.core.train_lib", "official.vision.modeling.factory"),
)
"""What steps import only on a service."""


def in_image(client: Any, image: str, *command: str, **options: Any) -> str:
    """What a container without network prints."""
    return str(client.containers.run(image, command, network_mode="none", remove=True, **options).decode())


@pytest.mark.parametrize("kind", ["cpu", "gpu", "tpu"])
def test_every_module_imports_as_user_1000_without_a_network(kind: str, client: Any, image: str) -> None:
    name = image.replace("python-cpu", f"python-{kind}")
    if not [found for found in client.images.list() if name in found.tags]:
        pytest.skip(f"{name} is not built: make images-local IMAGES={kind}")
    environment = {"TPU_SKIP_MDS_QUERY": "1"}
    printed = in_image(client, name, "python3", "-c", MODULES, *LATER, environment=environment).splitlines()[-1]
    user, modules = map(int, printed.split())
    assert user == USER
    assert modules > 150


def test_every_stage_of_a_run_is_a_container(first: Ran, client: Any) -> None:
    output = first.process.stdout
    assert f"containers           of {IMAGE}, built " in output
    assert "decision  promoted: v0001" in output
    assert stage_lines(output)[-3:] == ["promote", "report", "remember the run"]
    assert not client.containers.list(all=True, filters={"label": f"centernet.run={first.latest}"}), "none is left"
    log = (first.latest / "logs" / "pipeline.log").read_text()
    assert log.count("Executing task") == 15
    assert "1 replica(s), float32" in log, "the graph is vertex-cpu's"


def test_the_containers_wrote_the_run_and_the_registry_alone_and_whose_it_is(first: Ran) -> None:
    owner = USER if os.getuid() == 0 else os.getuid()
    written = {path for path in first.folder.rglob("*") if path.is_file() and path.stat().st_uid == owner}
    inside = {path for path in written if path.is_relative_to(first.folder / "runs")}
    assert {path.parts[len(first.folder.parts)] for path in written} == {"runs", "registry"} or owner == os.getuid()
    assert {path.relative_to(first.latest).parts[0] for path in inside if path.is_relative_to(first.latest)} >= {
        "stages"
    }


def test_the_next_run_reuses_and_holds_and_one_on_the_same_ends(first: Ran) -> None:
    """With the first run, every component has run."""
    (first.folder / "strict.yaml").write_text(CONFIG.replace("min_ap: 0.0", "min_ap: 0.99"))
    held = pipeline(first.folder, *RUN[:-1], "strict.yaml")
    assert held.returncode == 0, held.stdout + held.stderr
    assert "decision  held: min_ap" in held.stdout
    assert "champion" in held.stdout and "v0001" in held.stdout
    for stage in ("preprocess train", "train", "export", "evaluate candidate"):
        (line,) = (line for line in held.stdout.splitlines() if line.startswith(f"{stage:<20}"))
        assert "reused from" in line
    same = pipeline(first.folder, *RUN[:-1], "strict.yaml", "--only-if-changed")
    assert same.returncode == 0, same.stdout + same.stderr
    assert stage_lines(same.stdout) == ["check the data", "check for changes", "nothing new"]


def test_a_killed_container_fails_its_run_which_resumes(first: Ran, client: Any) -> None:
    config = CONFIG.replace("train_steps: 150", "train_steps: 600").replace(
        "checkpoint_interval: 150", "checkpoint_interval: 20"
    )
    (first.folder / "long.yaml").write_text(config)
    flags = [*RUN[:-1], "long.yaml", "--runs-dir", "runs-of-killed", "--registry", "registry-of-killed"]
    latest = first.folder / "runs-of-killed" / "latest"
    with started(first.folder, *flags) as process:
        while not list((latest / "stages" / "train").glob("ckpt-*.index")):
            assert process.poll() is None, "it ended before its container could be killed"
            time.sleep(0.1)
        (container,) = client.containers.list(filters={"label": f"centernet.run={latest.resolve()}"})
        container.kill()
        out, errors = process.communicate()
    assert process.returncode == 1, out + errors
    assert "failed: train" in errors
    assert "the container was killed: signal 9" in errors
    resumed = pipeline(first.folder, "run", "--resume", "runs-of-killed/latest")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert f"containers           of {IMAGE}" in resumed.stdout, "a resumed run keeps its image"
    log = (latest / "logs" / "pipeline.log").read_text()
    assert re.search(r"steps [1-9]\d* to 600, resumed from ", log)


def test_an_interrupted_run_leaves_no_container(first: Ran, client: Any) -> None:
    folder = first.folder / "runs-of-interrupted"
    with started(first.folder, *RUN, "--no-cache", "--runs-dir", folder.name) as process:
        while not (running := client.containers.list(filters={"label": "centernet.run"})):
            assert process.poll() is None
            time.sleep(0.1)
        assert running[0].labels["centernet.run"].startswith(str(folder))
        process.terminate()
        _, errors = process.communicate()
    assert process.returncode == 1
    assert "interrupted " in errors
    assert not client.containers.list(all=True, filters={"label": "centernet.run"})


def test_a_failed_task_is_a_failed_run(first: Ran) -> None:
    (first.folder / "failing.yaml").write_text(CONFIG + "runtime: {num_gpus: 64}\n")
    process = pipeline(first.folder, *RUN[:-1], "failing.yaml")
    assert process.returncode == 2, process.stdout + process.stderr
    assert "failed: train\nerror: runtime.num_gpus: 64" in process.stderr
    assert "export" not in stage_lines(process.stdout)


def test_a_task_that_ends_well_without_a_word_is_a_failed_run(first: Ran, client: Any, image: str) -> None:
    """kfp takes the exit code, and takes a container that is gone for 0."""
    silent = "localhost/python-silent:1"
    dockerfile = f"FROM {image}\nUSER 0\nRUN mkdir /silent && ln -s /bin/true /silent/python3\nENV PATH=/silent:$PATH\n"
    client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=silent, rm=True)
    try:
        process = pipeline(first.folder, *RUN, "--image", silent)
    finally:
        client.images.remove(silent, force=True)
    assert process.returncode == 1, process.stdout + process.stderr
    assert "its stage did not report that it is done" in process.stderr
    assert stage_lines(process.stdout) == []


def in_containers(client: Any, image: str, mounted: Path, made: Container, **options: Any) -> Any:
    """The step in a container, as the service starts it: only the spec's environment, and one folder."""
    mounts = {str(mounted): {"bind": str(mounted), "mode": "rw"}}
    return client.containers.run(
        *(image, made.argv),
        environment={**made.declared, "HOME": "/tmp"},
        working_dir=str(made.folder),
        volumes=mounts,
        detach=True,
        **options,
    )


def test_the_trainers_roles(client: Any, image: str, tmp_path: Path) -> None:
    """Chief and worker train together, and the chief alone answers."""
    make_data(tmp_path)
    os.chmod(tmp_path, 0o777)
    data = {f"{split}_images": str(tmp_path / "coco" / f"{split}2017") for split in ("train", "val")}
    data |= {
        f"{split}_annotations": str(tmp_path / f"coco/annotations/instances_{split}2017.json")
        for split in ("train", "val")
    }
    values = {**data, "config": CONFIG, "registry": str(tmp_path / "registry")}
    folder = tmp_path / "run"
    run = ContainerRun(
        compiled("vertex-multinode-gpu"), folder, values, pipeline_job_uuid="1", pipeline_root=str(tmp_path / "root")
    )
    runtime = json.loads(run.values["runtime"])["runtime"]
    on_cpu = {"runtime": json.dumps({"runtime": {**runtime, "num_gpus": 0, "mixed_precision_dtype": "float32"}})}
    for task, changes in (("data-check", on_cpu), ("preprocess", None)):
        run.run(task, changes=changes)  # beside the container: it is the trainer that is tested
    cluster = {f"workerpool{pool}": [f"127.0.0.1:{2220 + pool}"] for pool in (0, 1)}

    def role(pool: int) -> Container:
        spec = {
            "cluster": cluster,
            "environment": "cloud",
            "task": {"type": f"workerpool{pool}", "index": 0, "trial": ""},
        }
        return run.container("train", root=str(folder / "out"), pool=pool, CLUSTER_SPEC=json.dumps(spec))

    with contextlib.ExitStack() as ended:
        made, started_ones = [], []
        for pool in (0, 1):
            made.append(role(pool))
            for path in (tmp_path, *tmp_path.rglob("*")):
                path.chmod(0o777)
            # Both are on one loopback device, which belongs to the first and reaches nothing else.
            network = f"container:{started_ones[0].id}" if started_ones else "none"
            started_ones.append(in_containers(client, image, tmp_path, made[-1], network_mode=network))
            ended.callback(started_ones[-1].remove, force=True)
        codes = [container.wait(timeout=1800)["StatusCode"] for container in started_ones]
        printed = [container.logs().decode() for container in started_ones]
    assert codes == [0, 0], printed[0][-2000:] + printed[1][-2000:]
    assert all("2 replica(s), float32" in text for text in printed)
    chief, worker = made
    assert worker.output() is None
    run.keep("train", chief)
    assert json.loads(Path(run.uri("train", "checkpoint")).read_text())["steps"] == 150


@contextlib.contextmanager
def started(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command, running; it is killed if the body fails."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
