"""A run's configuration: one YAML text with six sections.

    preprocess:  what shapes a record        (beam_preprocess.format.config.PreprocessConfig)
    task:        model, losses, augmentation (trainer.config.experiment, Model Garden's config classes)
    trainer:     steps, optimizer, schedule  (Model Garden's TrainerConfig)
    runtime:     strategy, precision         (Model Garden's RuntimeConfig)
    export:      what the SavedModel serves  (ExportConfig)
    gate:        what promotion asks for     (GateConfig)

The text travels unchanged through the pipeline. `python -m trainer.config check FILE` validates all of it;
importing this module does not import TensorFlow.
"""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.yaml import FileLoader
from beam_preprocess.format.config import PreprocessConfig, from_mapping

CONFIGS = Path(__file__).parents[1] / "configs"
EXPERIMENT_SECTIONS = ("task", "trainer", "runtime")
SECTIONS = ("preprocess", *EXPERIMENT_SECTIONS, "export", "gate")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportConfig:
    """The `export:` section."""

    score_threshold: float = 0.3
    """`num_detections` of the served model counts the scores at or above it; all detections are returned."""

    flip: bool = False
    """Test-time augmentation inside the served model: also run the mirrored image, and decode the mean of both
    (trainer/model/tta.py). Twice the computation; the paper gains 1.9 AP by it on COCO."""

    scales: tuple[float, ...] = (1.0,)
    """Test-time augmentation: also run the image at these scales of the network's input, and decode the mean. The
    first is 1; the cost of each is its square. The network must be able to halve the scaled input often enough."""

    augmented_apart: bool = False
    """Serve without `flip` and `scales`, and put them into a signature `image_bytes_augmented` of its own, which
    `python -m trainer.evaluate --signature image_bytes_augmented` scores: what would they gain?"""

    parity_images: int = 64
    """So many validation images go through the checkpoint and through the export, which must agree; 0: none. The gate
    doesn't promote a model whose parity is unknown."""

    max_score_delta: float = 0.01
    """Largest difference of a score between checkpoint and export. Their pixels are resized by different libraries,
    which round to another grey level now and then (0.0009 on the demo's model); everything else is the same
    arithmetic."""

    max_box_delta: float = 2.0
    """Largest difference of a box coordinate, in pixels of the network's input: half a cell of the heatmap
    (0.02 on the demo's model)."""

    max_ap_delta: float = 0.005
    """Largest difference of AP on those images."""

    max_unmatched: float = 0.01
    """Largest share of the detections that have no counterpart on the other side."""

    def __post_init__(self) -> None:
        for name in ("score_threshold", "max_score_delta", "max_ap_delta", "max_unmatched"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"export.{name}: {getattr(self, name)} is out of range; use 0 to 1")
        # `not >=` also refuses NaN.
        if not self.max_box_delta >= 0:
            raise InputError(f"export.max_box_delta: {self.max_box_delta} is out of range; use 0 or more pixels")
        if self.parity_images < 0:
            raise InputError(f"export.parity_images: {self.parity_images} is out of range; use 0 or more")
        if not self.scales or self.scales[0] != 1 or len(set(self.scales)) != len(self.scales):
            raise InputError(f"export.scales: {list(self.scales)} must begin with 1 and repeat none; use [1.0, 1.25]")
        if not all(0.1 <= scale <= 4 for scale in self.scales):
            raise InputError(f"export.scales: {list(self.scales)} are out of range; use 0.1 to 4")

    @property
    def augments(self) -> bool:
        """Whether there is any test-time augmentation."""
        return self.flip or len(self.scales) > 1


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    """The `gate:` section of a run's configuration."""

    min_ap: float = 0.0
    """Smallest AP of the candidate, a fraction."""

    min_delta: float = -0.005
    """Smallest lower bound of the 95 % bootstrap interval of AP candidate - champion (and - best) on the same images;
    negative tolerates the noise of training. The fewer images, the wider the interval."""

    max_class_drop: float = 0.1
    """Largest loss of AP of one class against the champion, among classes with enough objects."""

    max_size_drop: float = 0.05
    """Largest loss of AP of small, medium or large objects, where there are enough of them."""

    min_support: int = 100
    """Objects that a class or a size needs before its AP may veto: the AP of three boxes is a lottery."""

    max_latency_ms: float = 0.0
    """Largest median latency of a single-image call; 0 sets no bound."""

    require_parity: bool = True
    """Whether the export must have been compared with its checkpoint."""

    resamples: int = 1000
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        bounds = {"min_ap": 0.0, "min_delta": -1.0, "max_class_drop": 0.0, "max_size_drop": 0.0}
        for name, low in bounds.items():
            value = getattr(self, name)
            # Also refuses NaN, with which every comparison is false.
            if not low <= value <= 1:
                raise InputError(f"gate.{name}: {value!r} is out of range; use a fraction from {low:g} to 1")
        if self.min_support < 1:
            raise InputError(f"gate.min_support: {self.min_support} is out of range; use 1 or more objects")
        if not 0 <= self.max_latency_ms < math.inf:
            raise InputError(f"gate.max_latency_ms: {self.max_latency_ms} is out of range; use 0 or more milliseconds")
        if not 100 <= self.resamples <= 100_000:
            raise InputError(f"gate.resamples: {self.resamples} is out of range; use 100 to 100000")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """The parsed text. `experiment` holds the Model Garden sections as plain mappings: building them needs
    TensorFlow (`trainer.config.experiment.build_experiment`)."""

    preprocess: PreprocessConfig
    export: ExportConfig
    gate: GateConfig
    experiment: dict[str, dict[str, Any]] = field(default_factory=dict)


def find_config(name: str) -> Path:
    """A path, or the name of a config that ships with the trainer (`custom-small`).

    Raises:
      InputError: neither exists, or it is no text.
    """
    for candidate in (Path(name), CONFIGS / name, CONFIGS / f"{name}.yaml"):
        if candidate.is_file():
            try:
                candidate.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"config {candidate}: can't be read: {error}; give a YAML file") from error
            return candidate
    known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.yaml")))
    raise InputError(f"config {name}: no such file; give a path or one of {known}")


def parse_config(text: str, where: str = "config") -> RunConfig:
    """Parses the text.

    Args:
      text: YAML.
      where: its origin, for messages.

    Raises:
      InputError: not YAML, not a mapping, an unknown key, a value of the wrong type or out of range.
    """
    try:
        values = yaml.load(text, Loader=FileLoader)
    except yaml.YAMLError as error:
        raise InputError(f"{where}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected sections {', '.join(SECTIONS)}, got {type(values).__name__}")
    unknown = sorted(set(values) - set(SECTIONS))
    if unknown:
        raise InputError(f"{where}: unknown section {unknown[0]!r}; known sections are {', '.join(SECTIONS)}")
    experiment: dict[str, dict[str, Any]] = {}
    for name in EXPERIMENT_SECTIONS:
        section = values.get(name) or {}
        if not isinstance(section, dict):
            raise InputError(f"{where}: {name}: expected a mapping of keys to values, got {section!r}")
        experiment[name] = section
    return RunConfig(
        preprocess=from_mapping(PreprocessConfig, "preprocess", values.get("preprocess")),
        export=_export_config(values.get("export")),
        gate=from_mapping(GateConfig, "gate", values.get("gate")),
        experiment=experiment,
    )


def _export_config(values: Any) -> ExportConfig:
    """`scales` has any number of entries, unlike the tuples of `from_mapping`."""
    scales: Any = [1.0]
    if isinstance(values, dict) and "scales" in values:
        scales = values["scales"]
        values = {key: value for key, value in values.items() if key != "scales"}
    if not isinstance(scales, list) or any(type(scale) not in (int, float) for scale in scales):
        raise InputError(f"export.scales: {scales!r} is no list of numbers; use [1.0, 1.25]")
    section = from_mapping(ExportConfig, "export", values)
    section = replace(section, scales=tuple(float(scale) for scale in scales))
    if section.augmented_apart and not section.augments:
        raise InputError("export.augmented_apart: true without flip or scales has no effect; set one of them")
    return section
