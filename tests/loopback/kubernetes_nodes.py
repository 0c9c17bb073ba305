"""Nodes of a cluster, and the scheduler's question: which one can take this pod?

A node gives its pods less than it has. The formula is GKE's (docs: "Plan node sizes"); the pods that run on every node
(logging, metrics, device plugins) take their part too, here a guess of what they ask for.
"""

import re
from dataclasses import dataclass, field
from typing import Any

GIB = 2**30
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": GIB}
ON_EVERY_NODE = (0.5, 1 * GIB)
"""CPU and memory that others' pods ask for on each node: not documented, differs between clusters."""
GPU_TAINT = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}


@dataclass(frozen=True, kw_only=True)
class Pod:
    """What a pod asks for. Kubernetes takes a limit without a request as the request."""

    cpu: float = 0.0
    memory: float = 0.0
    gpus: int = 0
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Node:
    """One machine."""

    cpus: int
    memory_gib: int
    gpus: int = 0
    labels: dict[str, str] = field(default_factory=dict)

    def allocatable(self) -> tuple[float, float]:
        """CPU and bytes of memory that are left for pods."""
        cpus = [0.06, 0.01, 0.005, 0.005, *[0.0025] * max(0, self.cpus - 4)][: self.cpus]
        steps, left, reserved = (
            ((4, 0.25), (4, 0.20), (8, 0.10), (112, 0.06), (10**9, 0.02)),
            float(self.memory_gib),
            0.1,
        )
        for size, share in steps:
            part = min(left, size)
            reserved, left = reserved + part * share, left - part
        return self.cpus - sum(cpus), (self.memory_gib - reserved) * GIB

    def refuses(self, pod: Pod) -> list[str]:
        """Why the pod doesn't fit, in the scheduler's words."""
        cpu, memory = (free - taken for free, taken in zip(self.allocatable(), ON_EVERY_NODE, strict=True))
        tolerated = any(
            toleration.get("key", "") in ("", GPU_TAINT["key"])
            and toleration.get("effect", "") in ("", GPU_TAINT["effect"])
            and toleration.get("operator", "Equal") == "Exists"
            for toleration in pod.tolerations
        )
        reasons = [
            (pod.cpu > cpu, "Insufficient cpu"),
            (pod.memory > memory, "Insufficient memory"),
            (pod.gpus > self.gpus, "Insufficient nvidia.com/gpu"),
            (self.gpus > 0 and not tolerated, "node(s) had untolerated taint {nvidia.com/gpu: present}"),
            (not pod.node_selector.items() <= self.labels.items(), "node(s) didn't match Pod's node affinity/selector"),
        ]
        return [reason for applies, reason in reasons if applies]


GPUS = {"cloud.google.com/gke-accelerator": "nvidia-tesla-a100"}
NODES = (
    Node(cpus=4, memory_gib=16),
    Node(cpus=16, memory_gib=64),
    Node(cpus=32, memory_gib=128),
    Node(cpus=12, memory_gib=85, gpus=1, labels=GPUS),
    Node(cpus=96, memory_gib=680, gpus=8, labels=GPUS),
)
"""n2-standard-4, -16 and -32, a2-highgpu-1g and -8g."""


def quantity(text: str) -> float:
    """Kubernetes' notation of a number."""
    found = re.fullmatch(r"([0-9.]+)(m|[kMG]i?|)", text)
    assert found, f"{text!r} is not a quantity"
    return float(found[1]) / 1000 if found[2] == "m" else float(found[1]) * UNITS[found[2]]


def pod_of(container: dict[str, Any], platform: dict[str, Any]) -> Pod:
    """The pod of an executor, from its container's resources and its part of the platform spec."""
    asked = container.get("resources", {})
    accelerator = asked.get("accelerator", {})
    gpus = int(accelerator.get("resourceCount") or accelerator.get("count") or 0)
    if gpus and accelerator["resourceType"] != "nvidia.com/gpu":
        raise ValueError(f"{accelerator['resourceType']} is not a resource of a device plugin")
    return Pod(
        cpu=quantity(asked.get("resourceCpuRequest") or asked.get("resourceCpuLimit") or "0"),
        memory=quantity(asked.get("resourceMemoryRequest") or asked.get("resourceMemoryLimit") or "0"),
        gpus=gpus,
        node_selector=platform.get("nodeSelector", {}).get("labels", {}),
        tolerations=tuple(platform.get("tolerations", ())),
    )


def unschedulable(pod: Pod, nodes: tuple[Node, ...] = NODES) -> str:
    """Why the pod stays Pending; "" if a node takes it."""
    refusals = [node.refuses(pod) for node in nodes]
    if not all(refusals):
        return ""
    reasons = sorted({reason for refusal in refusals for reason in refusal})
    return f"0/{len(nodes)} nodes are available: {', '.join(reasons)}"
