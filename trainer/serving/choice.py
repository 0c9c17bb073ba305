"""The model that is asked for: a folder, an alias or a version of the registry; its classes and thresholds."""

from dataclasses import dataclass

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import exists, read_json
from trainer.registry.base import BEST, CHALLENGER, CHAMPION, PREVIOUS, RegistryError
from trainer.registry.uri import open_registry
from trainer.saved_model.layout import LABEL_MAP, SAVED_MODEL
from trainer.saved_model.thresholds import thresholds_of
from trainer.serving.plan import ServedClass

ALIASES = (CHAMPION, PREVIOUS, CHALLENGER, BEST)
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
    folder, version = _from_registry(model, registry) if _in_registry(model) else (model.rstrip("/") or "/", "")
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
        version=version,
        classes=tuple(
            ServedClass(category_id=number, name=name, score_threshold=minimum.classes.get(number, minimum.default))
            for number, name in categories.items()
        ),
        threshold_source=minimum.source,
    )


def _in_registry(model: str) -> bool:
    return model in ALIASES or ("/" not in model and not exists(model))


def _from_registry(name: str, registry: str) -> tuple[str, str]:
    """The folder and the version of an alias, or of a version.

    Raises:
      InputError: there is none.
    """
    if "://" not in registry and not exists(registry):
        raise InputError(
            f"--registry {registry}: no such folder, so no {name}; promote a model with `centernet run`, or give "
            "--model DIR"
        )
    store = open_registry(registry)
    try:
        version = store.alias(name) if name in ALIASES else name
        if not version:
            raise InputError(f"--model {name}: {registry} has no {name} yet; promote a model, or give --model DIR")
        found = store.version(version)
    except RegistryError as error:
        raise InputError(f"--model {name}: {error}; `centernet registry list` shows the versions") from error
    return found.path, found.version
