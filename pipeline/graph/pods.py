"""How Kubernetes places the pods of a run on a Kubeflow endpoint, and what it mounts into them.

A target has pods by group: "all" steps, the "gpu" steps (those that ask for accelerators), and single steps by their
component's name. A file (`--pods`) adds to them; the narrower group wins.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from beam_preprocess.base import yaml
from beam_preprocess.base.errors import InputError
from beam_preprocess.base.json import build

GPU = "nvidia.com/gpu"
"""Kubernetes' name of a GPU; its model is the node selector's affair."""
ALL, WITH_GPU = GROUPS = ("all", "gpu")
CACHE = "/cache"
CACHED = {"CUDA_CACHE_PATH": f"{CACHE}/cuda", "XDG_CACHE_HOME": CACHE}
"""What libraries keep from run to run: kernels that CUDA compiled for this GPU, and whatever else looks for a cache."""
PODS_FIX = "docs/targets.md has an example"

_NAME = (r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", "a name of Kubernetes: a-z, 0-9, - and .")
_PATH = (r"/[\w./-]+", "an absolute path")


def _check(owner: Any, **forms: tuple[str, str]) -> None:
    for name, (form, wanted) in forms.items():
        value = getattr(owner, name)
        if value and not re.fullmatch(form, value):
            raise InputError(f"pods: {name}: {value!r}; give {wanted}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Toleration:
    """A taint that the pod may be placed in spite of."""

    key: str = ""
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""

    def __post_init__(self) -> None:
        if (self.operator == "Equal") != bool(self.value) or (self.operator == "Equal" and not self.key):
            raise InputError("pods: tolerations: operator Equal goes with a key and a value, Exists without a value")


@dataclass(frozen=True, kw_only=True, slots=True)
class Secret:
    """A secret of the run's namespace: one key as an environment variable, or all keys as files of a folder."""

    name: str
    key: str = ""
    env: str = ""
    """The variable that holds the key's value; with `folder`, the path of the key's file."""
    folder: str = ""

    def __post_init__(self) -> None:
        _check(self, name=_NAME, key=(r"[\w.-]+", "a key of the secret"), folder=_PATH)
        _check(self, env=(r"[A-Za-z_]\w*", "the name of an environment variable"))
        if bool(self.env) != bool(self.key) or not (self.env or self.folder):
            raise InputError(f"pods: secret {self.name}: give key and env, or folder, or all three")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pod:
    """What a step's pod has besides its image. Kubernetes takes cpu and memory as request and limit."""

    cpu: str = ""
    """"" keeps the target's, like memory: less than a whole machine, of which the node itself needs a part."""
    memory: str = ""
    gpus: int = 0
    """GPUs of one pod that trains; 0 keeps the target's."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    shared_memory: str = ""
    """Size of /dev/shm, over which processes and GPUs of a pod exchange data; Kubernetes' default is 64 MiB. It counts
    as the pod's memory."""
    cache_claim: str = ""
    """A persistent volume claim, mounted at /cache."""
    secrets: tuple[Secret, ...] = ()

    def __post_init__(self) -> None:
        _check(
            self, cpu=(r"[1-9]\d*", "a whole number of CPUs"), memory=(r"[1-9]\d*(Mi|Gi|M|G)", "memory, such as 48G")
        )
        _check(self, shared_memory=(r"[1-9]\d*(Mi|Gi)", "a size, such as 16Gi"), cache_claim=_NAME)
        if self.gpus < 0:
            raise InputError(f"pods: gpus: {self.gpus}; give 1 or more")

    def with_more(self, other: "Pod") -> "Pod":
        """Both together; where only one value can be, it is the other's."""

        def both(first: Any, second: Any) -> Any:
            if isinstance(first, Mapping):
                return {**first, **second}
            if isinstance(first, tuple):
                return tuple(dict.fromkeys((*first, *second)))
            return second or first

        names = [entry.name for entry in fields(Pod)]
        return Pod(**{name: both(getattr(self, name), getattr(other, name)) for name in names})


Pods = Mapping[str, Pod]
"""Group to what its pods have."""


def read_pods(path: str, steps: Iterable[str]) -> Pods:
    """Reads a file of pods.

    Args:
      path: of the YAML file.
      steps: names of the components that may have a group of their own.

    Raises:
      InputError: it can't be read, or holds an unknown group, step or key, or a wrong value.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--pods {path}: cannot be read ({' '.join(str(error).split())}); {PODS_FIX}") from error
    content = yaml.load(text, f"--pods {path}")
    if not isinstance(content, dict):
        raise InputError(f"--pods {path}: not a mapping of steps; {PODS_FIX}")
    known = (*GROUPS, *sorted(steps))
    for group in content:
        if group not in known:
            raise InputError(f"--pods {path}: {group}: unknown; known are {', '.join(known)}")
    found = {group: _pod(values, f"--pods {path}: {group}") for group, values in content.items()}
    for group, pod in found.items():
        if group in GROUPS and (pod.cpu or pod.memory):
            raise InputError(f"--pods {path}: {group}: cpu and memory are a single step's; move them to it")
        if group != "train" and pod.gpus:
            raise InputError(f"--pods {path}: {group}: gpus are those of train; move them there")
    return found


def _pod(values: Any, where: str) -> Pod:
    """A group of the file; keys may be left out, also in its lists."""
    lists: dict[str, Any] = {}
    if isinstance(values, dict):
        for name, kind in (("tolerations", Toleration), ("secrets", Secret)):
            entries = values.get(name, [])
            if isinstance(entries, list):
                values = {key: value for key, value in values.items() if key != name}
                lists[name] = tuple(build(kind, entry, f"{where}: {name}", PODS_FIX, partial=True) for entry in entries)
    return replace(build(Pod, values, where, PODS_FIX, partial=True), **lists)


def added(pods: Pods, more: Pods) -> Pods:
    """The pods with those of a file."""
    return {group: pods.get(group, Pod()).with_more(more.get(group, Pod())) for group in {**pods, **more}}


def pod_of(pods: Pods, step: str, *, accelerated: bool) -> Pod:
    """What the pod of one step has, from the wide group to the narrow one."""
    found = Pod()
    for group in (ALL, *([WITH_GPU] if accelerated else ()), step):
        found = found.with_more(pods.get(group, Pod()))
    return found


def place(task: Any, pod: Pod) -> None:
    """Sets on a kfp task what Kubernetes needs besides cpu, memory and GPUs: what Vertex AI doesn't know."""
    # kfp takes a second to import, and commands read the targets.
    from kfp import kubernetes

    for key, value in pod.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for taint in pod.tolerations:
        values = {name: getattr(taint, name) or None for name in ("key", "operator", "value", "effect")}
        kubernetes.add_toleration(task, **values)
    if pod.shared_memory:
        kubernetes.empty_dir_mount(
            task, volume_name="shared-memory", mount_path="/dev/shm", medium="Memory", size_limit=pod.shared_memory
        )
    if pod.cache_claim:
        kubernetes.mount_pvc(task, pvc_name=pod.cache_claim, mount_path=CACHE)
        for name, value in CACHED.items():
            task.set_env_variable(name, value)
    for secret in pod.secrets:
        if secret.folder:
            kubernetes.use_secret_as_volume(task, secret_name=secret.name, mount_path=secret.folder)
            if secret.env:
                task.set_env_variable(secret.env, f"{secret.folder.rstrip('/')}/{secret.key}")
        else:
            kubernetes.use_secret_as_env(task, secret_name=secret.name, secret_key_to_env={secret.key: secret.env})
