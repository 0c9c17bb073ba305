"""The records of a training and its configuration must agree."""

from official.core import config_definitions as cfg

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.manifest import Manifest
from trainer.config.experiment import STRIDE, build_experiment, override
from trainer.config.sections import RunConfig


def fit_to_records(experiment: cfg.ExperimentConfig, manifest: Manifest, where: str) -> None:
    """Fills in what the records decide, and refuses what contradicts them.

    Raises:
      InputError: the number of classes, the input size or the stride differs from that of the records.
    """
    model, made_with = experiment.task.model, manifest.parameters
    if model.num_classes not in (0, manifest.num_classes):
        raise InputError(
            f"task.model.num_classes: {model.num_classes}, but {where} has {manifest.num_classes}; "
            "remove it, or make the records again with the right preprocess.class_index"
        )
    if list(model.input_size[:2]) != list(made_with["image_size"]):
        raise InputError(
            f"preprocess.image_size: {list(model.input_size[:2])}, but {where} has {made_with['image_size']}; "
            "make the records again"
        )
    if made_with["stride"] != STRIDE:
        raise InputError(f"{where}: made with preprocess.stride {made_with['stride']}; make the records again with 4")
    model.num_classes = manifest.num_classes


def check_splits(training: Manifest, records: str, validation: Manifest | None, val_records: str) -> None:
    """Refuses training and validation records that were swapped or do not belong together.

    Raises:
      InputError: validation records to train on, or two folders whose class indices mean different categories.
    """
    if training.split == "val":
        raise InputError(f"{records}: validation records (--split val), which only judge; give training records")
    if validation is None or validation.categories == training.categories:
        return
    there, here = ({c.index: f"{c.name!r} (id {c.id})" for c in m.categories} for m in (training, validation))
    index = min(i for i in there.keys() | here.keys() if there.get(i) != here.get(i))
    raise InputError(
        f"{val_records}: class {index} is {here.get(index, 'none')}, but {there.get(index, 'none')} in {records}; "
        "make both from annotations with the same categories"
    )


def configured_folders(config: RunConfig, params_override: str) -> dict[str, str]:
    """Record folders that the configuration names, where users of Model Garden name them.

    Returns:
      {"records": …, "val_records": …}; "" for a folder that the configuration does not name.

    Raises:
      InputError: as `build_experiment`.
    """
    experiment = build_experiment(config)
    if params_override:
        override(experiment, params_override, "--params_override")
    task = experiment.task
    return {"records": task.train_data.input_path, "val_records": task.validation_data.input_path}
