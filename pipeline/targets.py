"""Where the pipeline runs: one row a target. The graph is the same for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from beam_preprocess.errors import InputError

IMAGE = "us-docker.pkg.dev/example-project/centernet/centernet-pipeline:0.1.0"
"""The image of every task: this repository and its locked environment, kfp included. Replaced at submission."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What one task asks for. Static, so that the same compiled file runs on Vertex AI and on this machine."""

    cpu: str
    memory: str
    accelerator: str = ""
    accelerators: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One place to run."""

    name: str
    image: str = IMAGE
    resources: Mapping[str, Resources] = field(default_factory=dict)
    """By stage name; a stage that isn't named takes the backend's default machine."""


_GPU = Resources(cpu="96", memory="680G", accelerator="NVIDIA_TESLA_A100", accelerators=8)
_ONE_GPU = Resources(cpu="12", memory="85G", accelerator="NVIDIA_TESLA_A100", accelerators=1)
_WORKER = Resources(cpu="16", memory="64G")
_SMALL = Resources(cpu="4", memory="16G")

TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        target.name: target
        for target in (
            Target(name="local"),
            Target(
                name="vertex-gpu",
                resources=MappingProxyType(
                    {
                        "data_check": _SMALL,
                        "preprocess": _WORKER,
                        "train": _GPU,
                        "export_model": _SMALL,
                        "evaluate": _ONE_GPU,
                        "report": _SMALL,
                    }
                ),
            ),
        )
    }
)


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
      InputError: there is none.
    """
    if name not in TARGETS:
        raise InputError(f"--target {name}: unknown; known targets are {', '.join(TARGETS)}")
    return TARGETS[name]
