"""The model that is deployed: the registry's version itself, or an upload of it with another container."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import fsspec

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.storage import file_system
from trainer.deployment.plan import Plan
from trainer.promotion.smoke import Smoke, read_smoke
from trainer.registry.base import CHAMPION, VERTEX_SCHEME, Registry, RegistryError, Version
from trainer.registry.digest import model_digest
from trainer.registry.local import LocalRegistry
from trainer.registry.uri import open_registry
from trainer.registry.vertex import MODEL_FILE, SERVING_IMAGE, VertexRegistry
from trainer.shared.google_cloud import Place

TITLE = "centernet version "
"""How the display name of a deployment begins."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A version of a registry, with what its deployment is tested with."""

    registry: str
    """URI of the registry."""
    version: Version
    smoke: Smoke

    @property
    def title(self) -> str:
        """Display name of its deployment."""
        return f"{TITLE}{self.version.version}"


def find_source(registry: str, name: str) -> Source:
    """Finds a version.

    Args:
      registry: the registry's folder, or `vertex://PROJECT/REGION/MODEL_ID`.
      name: of a version, or champion.

    Raises:
      InputError: there is no such version, or its deployment can't be tested.
      RegistryError: the registry is damaged or can't be reached.
    """
    store = open_registry(registry)
    if isinstance(store, LocalRegistry) and not store.root.is_dir():
        raise InputError(f"--registry {registry}: no such folder; give the folder of a registry, or {VERTEX_SCHEME}…")
    version = _version(store, registry, name)
    digest = str(version.metadata.get("model_digest", ""))
    return Source(registry=registry, version=version, smoke=read_smoke(version.path, digest))


def _version(store: Registry, registry: str, name: str) -> Version:
    aliases = store.aliases()
    if name == CHAMPION and CHAMPION not in aliases:
        raise InputError(f"--version champion: {registry} has no champion yet; promote a model, or give a version")
    known = {version.version: version for version in store.list()}
    wanted = aliases.get(name, name)
    if wanted not in known:
        listed = ", ".join(known) or "none"
        raise InputError(f"--version {name}: not in {registry}; its versions are {listed}")
    return known[wanted]


def uploaded(source: Source, plan: Plan, place: Place, staging: str) -> str:
    """The full name of the model with the version that the plan deploys.

    A version of Model Registry is deployed as it is, if the plan's container is the one that it was uploaded with.
    Otherwise it is uploaded with the plan's container, once: an upload has a key.

    Args:
      source: the version.
      plan: names the container.
      place: project and region.
      staging: a folder in a bucket, for the version of a local registry.

    Raises:
      InputError: a local registry without a folder to copy to.
      RegistryError: the upload fails.
    """
    version, container = source.version, plan.container()
    if source.registry.startswith(VERTEX_SCHEME):
        model_id = source.registry.rpartition("/")[2]
        if container == {"imageUri": SERVING_IMAGE}:
            return f"{place.parent}/models/{model_id}@{version.version}"
        path = version.path
    else:
        model_id = plan.endpoint
        path = _copied(source, staging)
    other = hashlib.sha256(json.dumps(container, sort_keys=True).encode()).hexdigest()[:8]
    served_id = f"{model_id[:54]}-{other}"
    served = VertexRegistry(f"{VERTEX_SCHEME}{place.project}/{place.region}/{served_id}", container=container)
    facts: dict[str, Any] = {name: version.metadata.get(name) for name in ("ap", "model_digest")}
    key = f"{source.registry.partition('://')[2] or 'local'} {version.version} {facts['model_digest'] or version.key}"
    number = served.publish(path, {**facts, "version": version.version}, key=key)
    return f"{place.parent}/models/{served_id}@{number}"


def _copied(source: Source, staging: str) -> str:
    """Copies a local version to a bucket, the file that servers take as the ready signal last."""
    if not staging.startswith("gs://"):
        raise InputError(
            f"--staging {staging or '(not given)'}: the registry {source.registry} is local, and Vertex AI serves "
            "models from Cloud Storage only; give a folder such as gs://my-bucket/models"
        )
    digest = model_digest(source.version.path)
    target = f"{staging.rstrip('/')}/{digest}"
    bucket, below = file_system(target)
    ready = f"{below}/{MODEL_FILE}"
    if not bucket.exists(ready):
        local = fsspec.filesystem("file")
        names = [path[len(source.version.path) :].lstrip("/") for path in sorted(local.find(source.version.path))]
        for name in sorted(names, key=lambda name: name == MODEL_FILE):
            bucket.pipe_file(f"{below}/{name}", local.cat_file(f"{source.version.path}/{name}"))
    if model_digest(target) != digest:
        raise RegistryError(f"{target}: is not {source.version.path}; remove the folder, then rerun the command")
    return target
