"""A model registry in Vertex AI Model Registry: one Model holds the versions and the aliases.

    vertex://PROJECT/REGION/MODEL_ID

The service copies nothing: a version points at `artifactUri`, so that folder must stay unchanged. `publish` therefore
takes a gs:// folder of a run, which nothing rewrites. The facts that are in `version.json` locally are in the version's
description, as JSON, and also in its labels as far as labels can hold them, for people and filters.

What can race: merging an alias is one atomic call, so each alias names exactly one version at every moment. But the
call takes no condition: between our reading and our merge (two calls, tenths of a second) another promotion can move
the alias. We read again afterwards, and a promotion that no longer finds its own version gets `ChampionMoved`. If two
promotions fall into that gap, the later merge stays champion, although it was compared with the champion before the
other one. Schedules run one at a time by default, which closes the gap for them. The local registry has a lock instead.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.json import build, parse
from trainer.registry.approval import PENDING, is_pending
from trainer.registry.base import CHALLENGER, CHAMPION, PREVIOUS, VERTEX_SCHEME, RegistryError, Version, in_use, moved
from trainer.shared import google_cloud
from trainer.shared.google_cloud import CloudError, Place

MODEL_FILE = "saved_model.pb"
SERVING_IMAGE = "us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"
"""Google's prebuilt container for TensorFlow SavedModels; it serves `serving_default`, which takes `image_bytes`."""
UPLOAD_SECONDS = 600.0
"""Maximum wait for the service to register a version; it copies nothing."""
PUBLISH_AGAIN = "publish the model again"
_KEY_LABEL = "key"
_DEFAULT = "default"
"""The service's own alias; the first version always gets it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """Content of a version's description; see `Version`."""

    key: str
    metadata: dict[str, Any]
    notes: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Its text. Without notes it is what older code reads."""
        content = asdict(self)
        if not self.notes:
            del content["notes"]
        return json.dumps(content, sort_keys=True)


class VertexRegistry:
    """The registry in one Model of Vertex AI, which is created with the first version.

    Raises (all methods):
      RegistryError: a version is not what this code wrote, or the service can't be reached.
    """

    def __init__(self, uri: str, *, container: Mapping[str, Any] | None = None) -> None:
        """
        Args:
          uri: `vertex://PROJECT/REGION/MODEL_ID`.
          container: `containerSpec` of the versions that are published; None is Google's for TensorFlow on CPUs.
        """
        found = re.fullmatch(re.escape(VERTEX_SCHEME) + r"([^/]+)/([^/]+)/([a-z0-9_-]{1,63})", uri)
        if not found:
            raise InputError(f"--registry {uri}: write vertex://PROJECT/REGION/MODEL_ID; MODEL_ID takes a-z, 0-9, _, -")
        self.uri = uri
        self.place = Place(project=found[1], region=found[2])
        self._id = found[3]
        self._name = f"{self.place.parent}/models/{self._id}"
        self._container = dict(container or {"imageUri": SERVING_IMAGE})
        self._connected: Any = None

    def publish(self, model_dir: str, metadata: Mapping[str, Any], *, key: str) -> str:
        """Uploads a version that points at a SavedModel in a bucket, without alias; see `Registry.publish`.

        A repeated call with the same key finds the version. Two calls at the same moment may create two versions;
        `_with_key` takes the older one from then on.

        Raises:
          InputError: the key is empty, or `model_dir` is outside Cloud Storage or contains no saved_model.pb.
        """
        if not key:
            raise InputError("key: is empty; name what is published, for example the run's id")
        _check_model(model_dir)
        if existing := self._with_key(key):
            return existing.version
        parent_exists = bool(self._models())
        content = {
            "displayName": self._id,
            "artifactUri": model_dir.rstrip("/"),
            "labels": {**_labels(metadata), _KEY_LABEL: _key_label(key)},
            "versionDescription": Description(key=key, metadata=dict(metadata)).to_json(),
            "containerSpec": self._container,
        }
        self._call(
            f"upload a version of {self._id}",
            lambda: self._upload(content, key, parent_exists=parent_exists),
            "aiplatform.models.upload",
            after_doubt=lambda: self._with_key(key),
        )
        published = self._with_key(key)
        if published is None:
            raise RegistryError(f"{self.uri}: the uploaded version of {key} can't be found; look for it in the console")
        return published.version

    def version(self, name: str) -> Version:
        for model in self._models():
            if model.version_id == name:
                return self._version(model)
        known = ", ".join(model.version_id for model in self._models()) or "none"
        raise RegistryError(f"{self.uri}: there is no version {name!r}; versions are {known}")

    def list(self) -> tuple[Version, ...]:
        broken = self.incomplete()
        return tuple(self._version(model) for model in self._models() if model.version_id not in broken)

    def incomplete(self) -> dict[str, str]:
        """Versions that this code did not publish, to the reason."""
        reasons = {}
        for model in self._models():
            try:
                self._version(model)
            except RegistryError as error:
                reasons[model.version_id] = str(error)
        return reasons

    def aliases(self) -> dict[str, str]:
        return {
            alias: model.version_id for model in self._models() for alias in model.version_aliases if alias != _DEFAULT
        }

    def alias(self, name: str) -> str | None:
        return self.aliases().get(name)

    def champion(self) -> Version | None:
        name = self.alias(CHAMPION)
        return None if name is None else self.version(name)

    def swap_alias(self, name: str, version: str, expected: str | None) -> None:
        """Moves an alias if it names `expected`; the module's docstring says what can race.

        Raises:
          ChampionMoved: it names something else, before or after the merge.
        """
        self.version(version)
        aliases = self.aliases()
        current = aliases.get(name)
        if current != expected:
            raise moved(name, version, current, expected)
        if name == CHAMPION and current is not None and current != version:
            # First: if this process dies between the two calls, `previous` is the champion; a repeated call fixes it.
            self._merge(current, [PREVIOUS])
        gone = [f"-{CHALLENGER}"] if name == CHAMPION and aliases.get(CHALLENGER) == version else []
        self._merge(version, [name, *gone])
        now = self.alias(name)
        if now != version:
            raise moved(name, version, now, version)

    def note(self, version: str, name: str, value: Any) -> None:
        """See `Registry.note`. The description is replaced as a whole: of two notes at the same moment one is lost."""
        from google.cloud.aiplatform_v1.types import Model

        found = self.version(version)
        described = Description(key=found.key, metadata=found.metadata, notes={**found.notes, name: value})
        self._call(
            f"note {name} on version {version} of {self._id}",
            lambda: self._client().update_model(
                model=Model(name=f"{self._name}@{version}", version_description=described.to_json()),
                update_mask={"paths": ["version_description"]},
                retry=None,
                timeout=google_cloud.CALL_SECONDS,
            ),
            "aiplatform.models.update",
        )

    def remove(self, version: str) -> None:
        """See `Registry.remove`. The folder that the version points at stays: it belongs to a run."""
        versions = [model.version_id for model in self._models()]
        if version not in versions:
            raise RegistryError(f"{self.uri}: there is no version {version!r}")
        aliases = self.aliases()
        reason = in_use(version, aliases, versions)
        if not reason and version not in self.incomplete():
            reason = PENDING if is_pending(self.version(version).notes, aliases.get(CHAMPION)) else ""
        if reason:
            raise RegistryError(f"{self.uri}: {version} is {reason}; it stays")
        if any(model.version_id == version and _DEFAULT in model.version_aliases for model in self._models()):
            # The service refuses to delete its default version.
            self._merge(versions[-1], [_DEFAULT])
        action = f"remove version {version} of {self._id}"

        def request() -> Any:
            operation = self._client().delete_model_version(
                name=f"{self._name}@{version}", retry=None, timeout=google_cloud.CALL_SECONDS
            )
            return google_cloud.finish(
                operation, action, seconds=UPLOAD_SECONDS, look=lambda: self._without(version) or None
            )

        self._call(action, request, "aiplatform.models.delete")

    def rollback(self) -> tuple[str, str]:
        aliases = self.aliases()
        if CHAMPION not in aliases or PREVIOUS not in aliases:
            raise RegistryError(f"{self.uri}: there is no previous champion to return to")
        self.swap_alias(CHAMPION, aliases[PREVIOUS], expected=aliases[CHAMPION])
        return aliases[PREVIOUS], aliases[CHAMPION]

    def _client(self) -> Any:
        if self._connected is None:
            from google.cloud.aiplatform_v1.services.model_service import ModelServiceClient

            self._connected = google_cloud.make_client(ModelServiceClient, self.place)
        return self._connected

    def _call(self, action: str, request: Any, permission: str, after_doubt: Any = None) -> Any:
        try:
            return google_cloud.call(action, request, permission=permission, place=self.place, after_doubt=after_doubt)
        except CloudError as error:
            raise RegistryError(f"{self.uri}: {error}") from error

    def _models(self) -> tuple[Any, ...]:
        """All versions, oldest first; empty if the Model does not exist yet."""
        from google.api_core.exceptions import NotFound

        def request() -> Any:
            try:
                return list(
                    self._client().list_model_versions(name=self._name, retry=None, timeout=google_cloud.CALL_SECONDS)
                )
            except NotFound:
                return []

        found = self._call(f"list the versions of {self._id}", request, "aiplatform.models.list")
        return tuple(sorted(found, key=lambda model: int(model.version_id)))

    def _version(self, model: Any) -> Version:
        try:
            described = parse(model.version_description, "its description", PUBLISH_AGAIN)
            facts = build(Description, described, "its description", PUBLISH_AGAIN, partial=True)
        except InputError as error:
            raise RegistryError(
                f"{self.uri}: version {model.version_id} was not published by this registry ({error}), or "
                "give its alias to another version"
            ) from error
        created = model.version_create_time
        return Version(
            version=model.version_id,
            path=model.artifact_uri,
            key=facts.key,
            created=created.isoformat(timespec="seconds") if created else "",
            metadata=facts.metadata,
            notes=facts.notes,
        )

    def _with_key(self, key: str) -> Version | None:
        return next((found for found in self.list() if found.key == key), None)

    def _without(self, version: str) -> bool:
        return version not in [model.version_id for model in self._models()]

    def _upload(self, content: Mapping[str, Any], key: str, *, parent_exists: bool) -> Any:
        from google.api_core.exceptions import AlreadyExists, Conflict
        from google.cloud.aiplatform_v1.types import Model, UploadModelRequest
        from google.protobuf import json_format

        model = Model(json_format.ParseDict(content, Model.pb(Model())))
        request = UploadModelRequest(parent=self.place.parent, model=model)
        if parent_exists:
            request.parent_model = self._name
        else:
            request.model_id = self._id
        try:
            operation = self._client().upload_model(request=request, retry=None, timeout=google_cloud.CALL_SECONDS)
        except (AlreadyExists, Conflict):
            if parent_exists:
                raise
            # Another promotion has just created the Model: ours is its next version.
            return self._upload(content, key, parent_exists=True)
        action = f"upload a version of {self._id}"
        return google_cloud.finish(operation, action, seconds=UPLOAD_SECONDS, look=lambda: self._with_key(key))

    def _merge(self, version: str, aliases: Iterable[str]) -> None:
        self._call(
            f"set {', '.join(aliases)} on version {version} of {self._id}",
            lambda: self._client().merge_version_aliases(
                name=f"{self._name}@{version}",
                version_aliases=[*aliases],
                retry=None,
                timeout=google_cloud.CALL_SECONDS,
            ),
            "aiplatform.models.update",
        )


def _check_model(model_dir: str) -> None:
    import fsspec

    if not model_dir.startswith("gs://"):
        raise InputError(f"{model_dir}: Vertex AI serves models from Cloud Storage only; give a gs:// folder")
    filesystem, path = fsspec.core.url_to_fs(model_dir)
    if not filesystem.isfile(f"{path.rstrip('/')}/{MODEL_FILE}"):
        raise InputError(f"{model_dir}: contains no {MODEL_FILE}; give the folder that centernet export wrote")


def _labels(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Facts as labels, which hold at most 63 of a-z, 0-9, _ and -: AP 0.5468 is `0_5468`, digests are cut."""
    labels = {}
    for name, value in metadata.items():
        if value is None or isinstance(value, Mapping | list | tuple):
            continue  # complete in the description
        text = f"{value:.4f}" if isinstance(value, float) else str(value)
        labels[_label_text(name)] = _label_text(text)
    return labels


def _label_text(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "_", text.lower())[:63]


def _key_label(key: str) -> str:
    """Label of the publishing key: its hash, because two long keys could be equal once they are cut."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]
