"""The model that is asked for: a folder, an alias or a version of the registry; its classes and thresholds."""

from dataclasses import dataclass

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import exists, read_json
from trainer.registry.named import find_model
from trainer.saved_model.layout import LABEL_MAP, SAVED_MODEL
from trainer.saved_model.thresholds import thresholds_of
from trainer.serving.plan import ServedClass

_EXPORT_AGAIN = "export the model again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A model that can be served."""

    model: str
    """SavedModel folder."""
    version: str
    """The registry's name of it; "" for a folder."""
    classes: tuple[ServedClass, ...]
    threshold_source: str


def choose(model: str, registry: str) -> Choice:
    """The model that a command line names.

    Args:
      model: SavedModel folder, or an alias or a version of the registry.
      registry: URI of the registry.

    Raises:
      InputError: there is no such version, or the folder isn't one of our models.
    """
    found = find_model(model, registry)
    folder = found.folder
    if not exists(f"{folder}/{SAVED_MODEL}") or not exists(f"{folder}/{LABEL_MAP}"):
        raise InputError(f"--model {folder}: not a SavedModel with {LABEL_MAP}; export one with `centernet export`")
    path = f"{folder}/{LABEL_MAP}"
    label_map = read_json(path, _EXPORT_AGAIN)
    try:
        categories = {int(entry["id"]): str(entry["name"]) for entry in label_map["categories"]}
        minimum = thresholds_of(folder, {"score_threshold": float(label_map["score_threshold"])}, None)
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not a label map of an exported model; {_EXPORT_AGAIN}") from error
    if not categories:
        raise InputError(f"{path}: has no categories; {_EXPORT_AGAIN}")
    return Choice(
        model=folder,
        version=found.version,
        classes=tuple(
            ServedClass(category_id=number, name=name, score_threshold=minimum.classes.get(number, minimum.default))
            for number, name in categories.items()
        ),
        threshold_source=minimum.source,
    )
