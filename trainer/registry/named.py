"""The model that a command line names: a folder, or an alias or a version of the registry. No TensorFlow."""

from dataclasses import dataclass

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import exists
from trainer.registry.base import BEST, CHALLENGER, CHAMPION, PREVIOUS, RegistryError
from trainer.registry.uri import open_registry

ALIASES = (CHAMPION, PREVIOUS, CHALLENGER, BEST)


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedModel:
    """A model to run."""

    folder: str
    """Path or URI of the SavedModel's folder."""
    version: str
    """Its name in the registry; "" for a folder."""


def find_model(name: str, registry: str) -> NamedModel:
    """Finds the model.

    Args:
      name: an alias, a version, or a SavedModel's folder. A folder with the name of an alias is given as ./champion.
      registry: URI of the registry.

    Raises:
      InputError: there is no such alias or version.
    """
    if name not in ALIASES and ("/" in name or exists(name)):
        return NamedModel(folder=name.rstrip("/") or "/", version="")
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
    return NamedModel(folder=found.path, version=found.version)
