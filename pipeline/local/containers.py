"""A container per task: the engine, what its containers may see and write, and how one ends.

kfp's own handler (2.17, local/docker_task_handler.py) is not used. It lets the engine remove a container as soon as it
ends, and takes a container that is gone for one that did its work; it leaves the container running when the run is
interrupted; and it mounts the pipeline root only.
"""

import codecs
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_preprocess.base.errors import Failure, InputError
from pipeline.graph.request import DATA
from pipeline.local.run_folder import RunFolder, existing_folder
from trainer.config.sections import parse_config
from trainer.shared.versions import VERSION

IMAGE = f"localhost/python-cpu:{VERSION}"
"""What `make images-local` builds."""
LABEL = "centernet.run"
"""Label of the containers of a run: its folder."""
FLAG = "--in-containers"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A file or folder of this machine that containers see under the same path."""

    path: Path
    writable: bool = False


class Engine:
    """Docker, or podman's socket, and one image."""

    def __init__(self, client: Any, image: str, found: Any) -> None:
        self._client, self.image = client, image
        self.image_id: str = found.id
        self.digest = self.image_id.removeprefix("sha256:")[:16]
        self.built: str = found.attrs["Created"][:16].replace("T", " ")
        """Date and time."""
        options = client.info().get("SecurityOptions") or []
        rootless = any("rootless" in option for option in options)
        self.user = _user(rootless, os.getuid(), os.getgid()) or found.attrs["Config"].get("User", "")
        """Whom the processes in the containers are: a name or number of the image, perhaps with a group."""

    def task(self, run: Path, places: Sequence[Place], environment: Mapping[str, str]) -> Callable[..., int]:
        """A function that runs a task's command in a container of its own, and returns the exit code.

        The container sees nothing of this machine but `places`, has no network, and can't write to its own image.

        Args:
          run: the run's folder.
          places: what the containers see.
          environment: variables besides those of the task.
        """
        from docker.types import Mount

        mounts = [
            Mount(str(place.path), str(place.path), type="bind", read_only=not place.writable) for place in places
        ]

        def start(command: Sequence[str], variables: Mapping[str, str]) -> int:
            with _named_errors():
                container = self._client.containers.create(
                    self.image_id,
                    list(command),
                    environment={"HOME": "/tmp", **variables, **environment},
                    labels={LABEL: str(run)},
                    mounts=mounts,
                    network_mode="none",
                    read_only=True,
                    tmpfs={"/tmp": "mode=1777"},
                    user=self.user,
                )
                try:
                    return _run(container)
                finally:  # also when the run is interrupted
                    container.remove(force=True)

        return start

    def end(self, run: Path) -> int:
        """Ends the containers that a killed run left behind, and returns their number."""
        with _named_errors():
            found = self._client.containers.list(all=True, filters={"label": f"{LABEL}={run}"})
            for container in found:
                container.remove(force=True)
        return len(found)

    def hand_over(self, places: Sequence[Place]) -> None:
        """Makes the writable places those of the image's user, if this process is root and the image's user isn't."""
        user, _, group = self.user.partition(":")
        if os.getuid() or not user.isdigit() or user == "0":
            return
        for place in places:
            if place.writable:
                for path in (place.path, *place.path.rglob("*")):
                    os.chown(path, int(user), int(group or -1), follow_symlinks=False)


def connect(image: str) -> Engine:
    """The engine that `DOCKER_HOST` names, or the machine's own.

    Raises:
      InputError: Python's package is missing, no engine answers, or it does not have the image.
    """
    try:
        import docker
    except ImportError as error:
        raise InputError(
            f"{FLAG}: the Python package docker is missing; install it: pip install 'centernet-pipeline[containers]'"
        ) from error
    where = os.environ.get("DOCKER_HOST", "") or "unix:///var/run/docker.sock"
    try:
        client = docker.from_env(timeout=600)  # seconds of one request; a busy machine takes its time
        client.ping()
    except docker.errors.DockerException as error:
        raise InputError(
            f"{FLAG}: no container engine answers at {where} ({_short(error)}); start Docker, or podman with "
            "`systemctl --user start podman.socket` and DOCKER_HOST=unix://$XDG_RUNTIME_DIR/podman/podman.sock"
        ) from error
    try:
        found = client.images.get(image)
    except docker.errors.ImageNotFound as error:
        kind = image.rpartition("python-")[2].partition(":")[0]
        fix = f"make images-local IMAGES={kind}" if kind in ("cpu", "gpu", "tpu") else "make images-local"
        raise InputError(
            f"--image {image}: the engine at {where} does not have it; build it with `{fix}`, or pull it"
        ) from error
    return Engine(client, image, found)


def places(folder: RunFolder) -> list[Place]:
    """What a run's containers see of this machine.

    Data, initial weights and the runs' folder, whose earlier results may be reused, can be read. The run's own stages
    and the registry can be written.

    Raises:
      InputError: the configuration names initial weights that are not on this machine, or by a relative path.
    """
    arguments = folder.arguments()
    read = {Path(arguments[name]) for name in DATA} | {folder.path.parent}
    if images := arguments.get("images"):
        read.add(existing_folder(images))
    weights = parse_config(arguments["config"]).experiment.get("task", {}).get("init_checkpoint") or ""
    if weights:
        path = Path(weights)
        if not path.is_absolute():
            raise InputError(f"task.init_checkpoint {weights}: {FLAG} needs a local path that begins with /; give one")
        read.add(path if path.is_dir() else path.parent)
    written = {folder.stages, folder.pipeline_root, Path(arguments["registry"])}
    made = [Place(path=path) for path in read - written] + [Place(path=path, writable=True) for path in written]
    return sorted(made, key=lambda place: place.path)


def _user(rootless: bool, uid: int, gid: int) -> str:
    """Whom a container's processes must be, so that what they write is the user's; "": as the image says.

    Root in a container of a rootless engine is the user outside. The superuser gives the folders to the image's user.
    """
    if rootless:
        return "0:0"
    return f"{uid}:{gid}" if uid else ""


def _run(container: Any) -> int:
    """Starts a container, prints what it prints, and returns its exit code."""
    container.start()
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    for chunk in container.logs(stream=True, follow=True):
        print(decode(chunk), end="")
    code: int = container.wait(timeout=None)["StatusCode"]
    if code > 128:
        container.reload()
        why = "out of memory" if container.attrs["State"].get("OOMKilled") else f"signal {code - 128}"
        print(f"the container was killed: {why}")
    return code


@contextmanager
def _named_errors() -> Iterator[None]:
    import docker
    import requests

    try:
        yield
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise Failure(f"{FLAG}: the container engine failed: {_short(error)}") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
