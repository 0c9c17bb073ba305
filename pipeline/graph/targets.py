"""Where the pipeline runs: one row per target. The graph is the same for all targets."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from beam_preprocess.base.errors import InputError
from pipeline.graph.pods import GPU, Pod, Pods, Toleration, added
from trainer.shared.versions import VERSION

REPOSITORY = "us-docker.pkg.dev/example-project/centernet"
"""Repository of the images; a submission replaces it. "python" is in the images' names because kfp's runners warn about
images without it."""
CPU_IMAGE, GPU_IMAGE, TPU_IMAGE = (f"{REPOSITORY}/python-{kind}:{VERSION}" for kind in ("cpu", "gpu", "tpu"))
COMMITTED = "vertex-gpu"
"""The target that is committed as pipeline.yaml."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What one plain task requests. Fixed values, so that one compiled file runs on Vertex AI and on this machine."""

    cpu: str = ""
    """"" takes the backend's default machine."""
    memory: str = ""
    accelerator: str = ""
    accelerators: int = 0
    timeout_hours: float = 4.0
    """The stage ends itself with a traceback after this many hours (`components.support.stage`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One place to run; `dataclasses.replace` makes variants of it (image, capacity, replicas)."""

    name: str
    image: str = CPU_IMAGE
    device: Literal["cpu", "gpu", "tpu"] = "cpu"
    """What trains."""
    precision: Literal["float32", "float16", "bfloat16"] | None = None
    """Overrides the configuration's runtime.mixed_precision_dtype; None keeps it."""
    strategy: Literal["one_device", "mirrored", "multi_worker_mirrored", "tpu"] | None = None
    """Overrides runtime.distribution_strategy; None keeps it."""
    custom_job: bool = False
    """Training is a Vertex AI CustomJob: for more than a plain task may have (96 CPUs, 624 GB), several machines, TPUs,
    and capacity other than on demand. It can't run on this machine."""
    machine_type: str = ""
    """Machine of the custom job; Vertex AI chooses a plain task's machine from `resources`."""
    accelerator: str = ""
    accelerator_count: int = 0
    """Accelerators per machine."""
    tpu_topology: str = ""
    replicas: int = 1
    reduction_servers: int = 0
    """Machines that sum the gradients of several GPU nodes; with 0, the nodes do it (NCCL's rings)."""
    capacity: Literal["on-demand", "spot", "flex-start", "reservation"] = "on-demand"
    """How the custom job gets its machines."""
    max_wait_hours: float = 24.0
    """How long flex-start waits for them; 0 sets no limit."""
    reservation: str = ""
    """projects/PROJECT/zones/ZONE/reservations/NAME."""
    network_attachment: str = ""
    """Private Service Connect interface of the custom job: projects/PROJECT/regions/REGION/networkAttachments/NAME."""
    encryption_key: str = ""
    """Key of Cloud KMS that encrypts the custom job's disks."""
    boot_disk_gb: int = 200
    timeout_hours: float = 48.0
    """Time limit of one attempt to train."""
    retries: int = 0
    """Further attempts to train; each resumes from the newest checkpoint."""
    resources: Mapping[str, Resources] = field(default_factory=dict)
    """The plain tasks' requests, by component name. Other tasks take the backend's default machine and limit."""
    preprocess_on: Literal["step", "dataflow"] = "step"
    """Default of the pipeline's parameter: Beam in the step's own machine, or a Dataflow job."""
    notify: tuple[str, ...] = ()
    """Addresses that are emailed when the run ends; Vertex AI only."""
    pods: Pods | None = None
    """The run is on a Kubeflow endpoint, and Kubernetes places its pods so; None: it isn't."""
    tracking: str = ""
    """Text of a `trainer.report.tracking.Tracking`: where the training's curves are sent; Vertex AI only."""
    deploy: str = ""
    """Text of a `trainer.deployment.plan.Plan`: how a promoted version is served; Vertex AI only."""
    webhook: str = ""
    """Name of the secret (see `trainer.shared.webhook`) with the address of a webhook, which gets the outcome when the
    run ends. The address itself is in no spec."""

    def __post_init__(self) -> None:
        rules = [
            (self.replicas >= 1, f"replicas: {self.replicas}; set 1 or more"),
            (self.retries >= 0, f"retries: {self.retries}; set 0 or more"),
            (self.timeout_hours > 0, f"timeout_hours: {self.timeout_hours:g}; set more than 0"),
            (self.replicas == 1 or self.custom_job, f"replicas: {self.replicas} need custom_job; set it, or 1"),
            (
                self.replicas > 1 or not self.reduction_servers,
                "reduction_servers: a single machine has no gradients to exchange; set 0",
            ),
            (not self.custom_job or bool(self.machine_type), "machine_type: empty; a custom job needs one"),
            (self.capacity == "on-demand" or self.custom_job, f"capacity: {self.capacity} needs custom_job; set it"),
            (
                (self.capacity == "reservation") == bool(self.reservation),
                "reservation: give one with this capacity",
            ),
        ]
        for valid, message in rules:
            if not valid:
                raise InputError(f"target {self.name}: {message}")

    def with_pods(self, more: Pods) -> "Target":
        """The target with what a file says of its pods.

        Raises:
          InputError: GPUs for a target that trains without.
        """
        pods, resources = added(self.pods or {}, more), dict(self.resources)
        gpus = pods.get("train", Pod()).gpus
        if gpus and self.device != "gpu":
            raise InputError(f"--pods: train: gpus: {gpus}: {self.name} trains without GPUs; leave it out")
        for step in resources.keys() & more.keys():
            asked = {name: value for name in ("cpu", "memory") if (value := getattr(more[step], name))}
            if more[step].gpus:
                asked["accelerators"] = more[step].gpus
            resources[step] = replace(resources[step], **asked)
        return replace(self, pods=pods, resources=resources, accelerator_count=gpus or self.accelerator_count)

    @property
    def beam_image(self) -> str:
        """Image of Dataflow's workers, from the same build; "" if `image` isn't named as `make images` names it."""
        repository, slash, name = self.image.rpartition("/")
        built = re.fullmatch(r"python-(cpu|gpu|tpu)(:[\w.-]+)", name)
        return f"{repository}{slash}python-beam{built[2]}" if built else ""

    @property
    def dataflow(self) -> str:
        """Default of the pipeline's parameter `dataflow`: JSON with keys of `components.support.dataflow.Dataflow`."""
        return json.dumps({"sdk_container_image": self.beam_image})

    @property
    def runtime(self) -> str:
        """Keys of the `runtime:` section that the target decides, as `trainer.train`'s params_override; "" for none."""
        values: dict[str, str | int] = {}
        if self.strategy is not None:
            values["distribution_strategy"] = self.strategy
            values["num_gpus"] = self.accelerator_count if self.device == "gpu" else 0
        if self.strategy == "tpu":
            values["tpu"] = "local"
        if self.precision is not None:
            values["mixed_precision_dtype"] = self.precision
        return json.dumps({"runtime": values}) if values else ""


_SMALL = Resources(cpu="4", memory="16G")
_TINY = Resources(cpu="4", memory="16G", timeout_hours=1)  # the service's own default machine
_WORKER = Resources(cpu="16", memory="64G", timeout_hours=24)
_CPU_SCORES = Resources(cpu="16", memory="64G", timeout_hours=12)
# One A100 exists on demand, one H100 doesn't: a2-highgpu-1g, also where H100s train.
_GPU_SCORES = Resources(cpu="12", memory="85G", accelerator="NVIDIA_TESLA_A100", accelerators=1)
# The most that a plain task may ask for: the service then chooses a2-highgpu-8g, which has 680 GB.
_GPU_TRAINS = Resources(cpu="96", memory="624G", accelerator="NVIDIA_TESLA_A100", accelerators=8, timeout_hours=48)


def _plain(**special: Resources) -> Mapping[str, Resources]:
    """Resources of every plain task."""
    usual = {
        "data_check": _SMALL,
        "preprocess": _WORKER,
        "export_model": _SMALL,
        "evaluate": _CPU_SCORES,
        "report": _SMALL,
        "promote": _SMALL,
        # It waits for two deployments, each of which the service ends after two hours.
        "deploy": replace(_SMALL, timeout_hours=6),
        **dict.fromkeys(
            (
                "should_run",
                "compare_splits",
                "resolve_champion",
                "gate",
                "hold",
                "remember",
                "unchanged",
                "alert",
                "track",
            ),
            _TINY,
        ),
    }
    return MappingProxyType({**usual, **special})


def _pods(**special: Resources) -> Mapping[str, Resources]:
    """Resources of every plain task on Kubernetes, for nodes of 4 and of 16 CPUs.

    They fit what a node has left for pods (its allocatable part), with room for what runs on every node. A pod
    that asks for a whole machine stays pending.
    """
    small, tiny = Resources(cpu="3", memory="11G"), Resources(cpu="1", memory="4G", timeout_hours=1)
    worker = Resources(cpu="14", memory="52G", timeout_hours=24)
    found = {name: tiny if row is _TINY else small for name, row in _plain().items()}
    return MappingProxyType({**found, "preprocess": worker, "evaluate": replace(worker, timeout_hours=12), **special})


_ALL = (
    Target(name="local"),
    Target(
        name="vertex-cpu",
        precision="float32",
        strategy="one_device",
        resources=_plain(train=Resources(cpu="32", memory="128G", timeout_hours=48)),
    ),
    Target(
        name="vertex-gpu",
        image=GPU_IMAGE,
        device="gpu",
        precision="float16",
        strategy="mirrored",
        accelerator="NVIDIA_TESLA_A100",
        accelerator_count=8,
        retries=2,
        resources=_plain(train=_GPU_TRAINS, evaluate=_GPU_SCORES),
    ),
    Target(
        name="vertex-gpu-job",
        image=GPU_IMAGE,
        device="gpu",
        precision="float16",
        strategy="mirrored",
        custom_job=True,
        machine_type="a2-highgpu-8g",
        accelerator="NVIDIA_TESLA_A100",
        accelerator_count=8,
        retries=2,
        resources=_plain(evaluate=_GPU_SCORES),
    ),
    Target(
        name="vertex-gpu-h100",
        image=GPU_IMAGE,
        device="gpu",
        precision="float16",
        strategy="mirrored",
        custom_job=True,
        machine_type="a3-highgpu-8g",
        accelerator="NVIDIA_H100_80GB",
        accelerator_count=8,
        retries=2,
        resources=_plain(evaluate=_GPU_SCORES),
    ),
    Target(
        name="vertex-multinode-gpu",
        image=GPU_IMAGE,
        device="gpu",
        precision="float16",
        strategy="multi_worker_mirrored",
        custom_job=True,
        machine_type="a2-highgpu-8g",
        accelerator="NVIDIA_TESLA_A100",
        accelerator_count=8,
        replicas=2,
        retries=2,
        resources=_plain(evaluate=_GPU_SCORES),
    ),
    Target(
        name="vertex-tpu-v3",
        image=TPU_IMAGE,
        device="tpu",
        precision="bfloat16",
        strategy="tpu",
        custom_job=True,
        machine_type="cloud-tpu",
        accelerator="TPU_V3",
        accelerator_count=8,
        boot_disk_gb=100,
        retries=2,
        resources=_plain(),
    ),
    Target(
        name="vertex-tpu-v5e",
        image=TPU_IMAGE,
        device="tpu",
        precision="bfloat16",
        strategy="tpu",
        custom_job=True,
        machine_type="ct5lp-hightpu-8t",
        tpu_topology="2x4",
        boot_disk_gb=100,
        retries=2,
        resources=_plain(),
    ),
)

_KUBEFLOW = (
    Target(
        name="kubeflow",
        precision="float32",
        strategy="one_device",
        resources=_pods(train=Resources(cpu="28", memory="100G", timeout_hours=48)),
        pods=MappingProxyType({}),
    ),
    Target(
        name="kubeflow-gpu",
        image=GPU_IMAGE,
        device="gpu",
        precision="float16",
        strategy="mirrored",
        accelerator=GPU,
        accelerator_count=8,
        retries=2,
        resources=_pods(
            train=Resources(cpu="88", memory="600G", accelerator=GPU, accelerators=8, timeout_hours=48),
            evaluate=Resources(cpu="10", memory="70G", accelerator=GPU, accelerators=1),
        ),
        pods=MappingProxyType(
            {"gpu": Pod(tolerations=(Toleration(key=GPU, effect="NoSchedule"),)), "train": Pod(shared_memory="32Gi")}
        ),
    ),
)

TARGETS: Mapping[str, Target] = MappingProxyType({target.name: target for target in (*_ALL, *_KUBEFLOW)})


def find_target(name: str) -> Target:
    """The target with this name.

    Raises:
      InputError: no such target.
    """
    if name not in TARGETS:
        raise InputError(f"--target {name}: unknown; known targets are {', '.join(TARGETS)}")
    return TARGETS[name]
