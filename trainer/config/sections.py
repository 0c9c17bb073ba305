"""A run's configuration: one YAML text with eight sections, parsed and checked.

    preprocess:  what shapes a record        (beam_preprocess.format.config.PreprocessConfig)
    task:        model, losses, augmentation (trainer.config.experiment, Model Garden's config classes)
    trainer:     steps, optimizer, schedule  (Model Garden's TrainerConfig)
    runtime:     strategy, precision         (Model Garden's RuntimeConfig)
    export:      what the SavedModel serves  (ExportConfig)
    gate:        what promotion requires     (GateConfig)
    deploy:      how it is served afterwards (DeployConfig); absent, nothing is deployed
    watch:       when watching new images leads to a training (WatchConfig)

`beam_preprocess.base.config_text.resolve` finds the text, and merges `base:` and `--set` into it. It then travels
unchanged through the pipeline. `centernet config check` validates all of it. Importing this module does not import
TensorFlow: the experiment's sections stay plain mappings until `trainer.config.experiment.build_experiment`.
"""

from dataclasses import dataclass, field
from typing import Any

from beam_preprocess.base import config_text, yaml
from beam_preprocess.base.errors import InputError
from beam_preprocess.base.json import described, nearest
from beam_preprocess.format.config import PreprocessConfig, from_mapping
from trainer.config.deploy_config import DeployConfig
from trainer.config.export_config import ExportConfig
from trainer.config.gate_config import GateConfig
from trainer.config.watch_config import WatchConfig

CONFIGS = config_text.SHIPPED
EXPERIMENT_SECTIONS = ("task", "trainer", "runtime")
SECTIONS = {
    "preprocess": "What shapes a record.",
    "task": "Model, losses and augmentation.",
    "trainer": "Steps, optimizer and schedule.",
    "runtime": "Devices and precision.",
    "export": "What the SavedModel serves, and how closely it must agree with its checkpoint.",
    "gate": "What promotion requires of a candidate.",
    "deploy": "How a promoted version is served on Vertex AI; without this section, nothing is deployed.",
    "watch": "When watching new images leads to a training (`centernet run --pipeline watch`).",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """The parsed text."""

    preprocess: PreprocessConfig
    export: ExportConfig
    gate: GateConfig
    deploy: DeployConfig | None = None
    """None: no such section."""
    watch: WatchConfig = field(default_factory=WatchConfig)
    experiment: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Model Garden's sections as plain mappings: building them needs TensorFlow."""
    where: str = field(default="config", compare=False)
    """Origin of the text, for messages."""


def parse_config(text: str, where: str = "config") -> RunConfig:
    """Parses the text.

    Args:
      text: YAML that stands alone.
      where: its origin, for messages.

    Raises:
      InputError: not YAML, not a mapping, an unknown key, a value of the wrong type or out of range.
    """
    values = yaml.load(text, where)
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected sections {', '.join(SECTIONS)}, got {described(values)}")
    if config_text.BASE in values:
        raise InputError(
            f"{where}: base: is not merged in yet; give the file's name to a centernet command, or write the merged "
            "text with `centernet config show FILE --yaml`"
        )
    for name, section in values.items():
        if name not in SECTIONS:
            raise InputError(f"{where}: unknown section {name!r}{nearest(name, SECTIONS)}")
        if not isinstance(section, dict | None):
            raise InputError(f"{where}: {name}: expected a mapping of keys to values, got {section!r:.80}")
    try:
        return RunConfig(
            preprocess=from_mapping(PreprocessConfig, "preprocess", values.get("preprocess")),
            export=_checked_together(from_mapping(ExportConfig, "export", values.get("export"))),
            gate=from_mapping(GateConfig, "gate", values.get("gate")),
            deploy=from_mapping(DeployConfig, "deploy", found) if (found := values.get("deploy")) is not None else None,
            watch=from_mapping(WatchConfig, "watch", values.get("watch")),
            experiment={name: values.get(name) or {} for name in EXPERIMENT_SECTIONS},
            where=where,
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _checked_together(export: ExportConfig) -> ExportConfig:
    if export.augmented_apart and not export.augments:
        raise InputError("export.augmented_apart: true without flip or scales has no effect; set one of them")
    return export
