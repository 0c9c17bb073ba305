"""A model registry in a local folder: immutable versions, and aliases that move by compare-and-swap.

    <root>/versions/v0001/         a SavedModel and version.json
    <root>/versions/tmp-<uuid>/    a copy in progress; nothing reads it
    <root>/aliases.json            {"champion": "v0002", "previous": "v0001", "best": "v0002"}

A version is copied under a temporary name, flushed to disk, given version.json last and renamed: a folder named
vNNNN is complete from its first moment. Everything that decides (number of the next version, alias moves)
happens under one lock that the kernel frees when its process dies.
"""

import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import fsync_folder, write_text
from trainer.registry.base import CHALLENGER, CHAMPION, PREVIOUS, ChampionMoved, RegistryError, Version
from trainer.registry.digest import REGISTRY_FILE

SCHEMA_VERSION = 1
VERSION_FILE = REGISTRY_FILE
MODEL_FILE = "saved_model.pb"


class LocalRegistry:
    """The registry under one local folder, which is made on the first write.

    Raises (all methods):
      RegistryError: aliases.json or a version.json is damaged.
    """

    def __init__(self, root: str) -> None:
        if "://" in root and not root.startswith("file://"):
            raise InputError(f"--registry {root}: a local registry is a local folder; give its path")
        self.root = Path(root.removeprefix("file://"))
        self._versions = self.root / "versions"
        self._aliases = self.root / "aliases.json"

    def publish(self, model_dir: str, metadata: Mapping[str, Any], *, key: str) -> str:
        """Copies a SavedModel into the registry as the next version, aliases untouched.

        Args:
          model_dir: URI of the SavedModel's folder.
          metadata: JSON-able facts about it (ap, data_digest, run_id, …).
          key: identifies what is published; a version that has it is returned and nothing is copied, so that a
            step which died after publishing can simply run again.

        Returns:
          The version's name.

        Raises:
          InputError: no key, or `model_dir` holds no saved_model.pb.
        """
        if not key:
            raise InputError("key: is empty; name what is published, for example the run's id")
        try:
            self._versions.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--registry {self.root}: cannot be made ({error.strerror}); give a writable folder"
            ) from error
        with self._lock():
            self._sweep()
            if existing := self._with_key(key):
                return existing.version
            name = f"tmp-{uuid.uuid4().hex}"
            # Held while this process lives: says to the sweep of another one that the copy is in progress.
            alive = _locked(self._versions / f"{name}.lock")
        folder = self._versions / name
        try:
            _copy_model(model_dir, folder)
            with self._lock():
                if existing := self._with_key(key):
                    return existing.version
                version = f"v{1 + max(map(_number, self._version_names()), default=0):04d}"
                content = {
                    "schema_version": SCHEMA_VERSION,
                    "version": version,
                    "key": key,
                    "created": datetime.now(UTC).isoformat(timespec="seconds"),
                    "metadata": dict(metadata),
                }
                write_text(str(folder / VERSION_FILE), json.dumps(content, indent=1) + "\n")
                os.rename(folder, self._versions / version)
                fsync_folder(self._versions)
                return version
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            (self._versions / f"{name}.lock").unlink(missing_ok=True)
            os.close(alive)

    def version(self, name: str) -> Version:
        """One version by its name.

        Raises:
          RegistryError: there is none, or it is incomplete.
        """
        folder = self._versions / name
        if not folder.is_dir():
            known = ", ".join(self._version_names()) or "none"
            raise RegistryError(f"{self.root}: has no version {name!r}; versions are {known}")
        try:
            values = json.loads((folder / VERSION_FILE).read_text(encoding="utf-8"))
            known_schema = values.pop("schema_version") == SCHEMA_VERSION
            found = Version(path=str(folder), **values)
        except FileNotFoundError as error:
            raise RegistryError(_incomplete(folder, f"no {VERSION_FILE}")) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryError(_incomplete(folder, f"{VERSION_FILE} is damaged: {error}")) from error
        if not known_schema or found.version != name:
            raise RegistryError(_incomplete(folder, f"{VERSION_FILE} is of another schema or version"))
        if not (folder / MODEL_FILE).is_file():
            raise RegistryError(_incomplete(folder, f"no {MODEL_FILE}"))
        return found

    def list(self) -> tuple[Version, ...]:
        """All complete versions, oldest first."""
        broken = self.incomplete()
        return tuple(self.version(name) for name in self._version_names() if name not in broken)

    def incomplete(self) -> dict[str, str]:
        """Version folders that cannot be served (damaged from outside: publishing leaves none), with the reason."""
        reasons: dict[str, str] = {}
        for name in self._version_names():
            try:
                self.version(name)
            except RegistryError as error:
                reasons[name] = str(error)
        return reasons

    def aliases(self) -> dict[str, str]:
        """Alias to version name."""
        try:
            values = json.loads(self._aliases.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise RegistryError(
                f"{self._aliases}: is damaged ({error}); restore it or write the aliases anew"
            ) from error
        if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
            raise RegistryError(f"{self._aliases}: is not an object of alias to version; restore it")
        return values

    def alias(self, name: str) -> str | None:
        """The version that an alias names, or None."""
        return self.aliases().get(name)

    def champion(self) -> Version | None:
        """The version in production, or None before the first promotion.

        Raises:
          RegistryError: the alias names a version that is missing or incomplete.
        """
        name = self.alias(CHAMPION)
        return None if name is None else self.version(name)

    def swap_alias(self, name: str, version: str, expected: str | None) -> None:
        """Moves an alias if it still names `expected` (None: nothing). Of callers at the same moment, one wins.

        When the champion moves, `previous` becomes the old one, and a challenger that became champion is none.

        Raises:
          ChampionMoved: it names something else.
          RegistryError: `version` is missing or incomplete.
        """
        self.version(version)
        with self._lock():
            aliases = self.aliases()
            current = aliases.get(name)
            if current != expected:
                raise ChampionMoved(
                    f"{name} is {current or 'not set'}, not {expected or 'unset'} as seen before: another promotion "
                    f"came first; {version} stays published, compare it with {current or 'the registry'} again"
                )
            if name == CHAMPION and current is not None and current != version:
                aliases[PREVIOUS] = current
            if name == CHAMPION and aliases.get(CHALLENGER) == version:
                del aliases[CHALLENGER]
            aliases[name] = version
            write_text(str(self._aliases), json.dumps(aliases, indent=1, sort_keys=True) + "\n")

    def rollback(self) -> tuple[str, str]:
        """Makes `previous` the champion again (and the champion `previous`).

        Returns:
          (new champion, old champion).

        Raises:
          RegistryError: there is no previous champion, or it is incomplete.
        """
        aliases = self.aliases()
        if CHAMPION not in aliases or PREVIOUS not in aliases:
            raise RegistryError(f"{self.root}: has no previous champion to go back to")
        self.swap_alias(CHAMPION, aliases[PREVIOUS], expected=aliases[CHAMPION])
        return aliases[PREVIOUS], aliases[CHAMPION]

    def _version_names(self) -> tuple[str, ...]:
        if not self._versions.is_dir():
            return ()
        names = (folder.name for folder in self._versions.iterdir())
        return tuple(sorted((name for name in names if re.fullmatch(r"v\d{4,}", name)), key=_number))

    def _with_key(self, key: str) -> Version | None:
        return next((v for v in self.list() if v.key == key), None)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        descriptor = _locked(self.root / ".lock")
        try:
            yield
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Removes the copies of publishers that died; called under the lock."""
        for name in {folder.name.removesuffix(".lock") for folder in self._versions.glob("tmp-*")}:
            descriptor = os.open(self._versions / f"{name}.lock", os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its publisher is at work
            else:
                shutil.rmtree(self._versions / name, ignore_errors=True)
                (self._versions / f"{name}.lock").unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _number(version: str) -> int:
    return int(version[1:])


def _locked(path: Path) -> int:
    """An open descriptor that holds the exclusive lock of a file, until it is closed or its process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _copy_model(model_dir: str, target: Path) -> None:
    """Copies a SavedModel from any file system and flushes every file to disk."""
    import fsspec

    filesystem, source = fsspec.core.url_to_fs(model_dir)
    files = sorted(filesystem.find(source))
    names = [os.path.relpath(file, source) for file in files]
    if MODEL_FILE not in names:
        raise InputError(f"{model_dir}: holds no {MODEL_FILE}; give the folder that trainer.export wrote")
    target.mkdir()
    for file, name in zip(files, names, strict=True):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with filesystem.open(file, "rb") as reader, open(copy, "wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
            writer.flush()
            os.fsync(writer.fileno())
    for folder in {(target / name).parent for name in names}:
        fsync_folder(folder)


def _incomplete(folder: Path, why: str) -> str:
    return f"{folder}: this version is incomplete ({why}); roll back, or publish the model again"
