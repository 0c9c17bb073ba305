"""A model registry in a local folder: immutable versions, and aliases that move by compare-and-swap.

    <root>/versions/v0001/         a SavedModel, version.json, and serving.json if promotion knew thresholds
    <root>/versions/tmp-<uuid>/    a copy in progress; nothing reads it
    <root>/aliases.json            {"champion": "v0002", "previous": "v0001", "best": "v0002"}
    <root>/notes/v0001.json        what happened to a version afterwards, such as an approval

A version is copied under a temporary name and flushed to disk. version.json is written last, then the folder is
renamed: a folder named vNNNN is complete from its first moment. The next version's number and every alias move are
decided under one lock, which the kernel frees when its process dies.
"""

import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import fsync_folder, remove_temporaries, write_text
from beam_preprocess.base.json import convert, parse, read
from trainer.registry.approval import PENDING, is_pending
from trainer.registry.base import CHALLENGER, CHAMPION, PREVIOUS, RegistryError, Version, in_use, moved
from trainer.registry.digest import NOT_THE_MODEL, REGISTRY_FILE

VERSION_SCHEMA = 1
MODEL_FILE = "saved_model.pb"
RESTORE_ALIASES = "restore the file, or write the aliases again"
REPAIR = "restore the file, or delete it: a version that waited for approval then no longer does"
REPLACE_VERSION = "roll back, or publish the model again"


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionFile:
    """Content of version.json; the fields are those of `Version`."""

    version: str
    key: str
    created: str
    metadata: dict[str, Any]


class LocalRegistry:
    """The registry in one local folder, which is created on the first write.

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
        """Copies a SavedModel into the registry as the next version; see `Registry.publish`.

        Raises:
          InputError: the key is empty, or `model_dir` contains no saved_model.pb.
        """
        if not key:
            raise InputError("key: is empty; name what is published, for example the run's id")
        try:
            self._versions.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--registry {self.root}: cannot be created ({error.strerror}); give a writable folder"
            ) from error
        with self._lock():
            self._sweep()
            if existing := self._with_key(key):
                return existing.version
            name = f"tmp-{uuid.uuid4().hex}"
            # Held while this process lives: it tells another process's sweep that the copy is in progress.
            alive = _locked(self._versions / f"{name}.lock")
        folder = self._versions / name
        try:
            _copy_model(model_dir, folder)
            with self._lock():
                if existing := self._with_key(key):
                    return existing.version
                version = f"v{1 + max(map(_number, self._version_names()), default=0):04d}"
                created = datetime.now(UTC).isoformat(timespec="seconds")
                facts = VersionFile(version=version, key=key, created=created, metadata=dict(metadata))
                content = {"schema_version": VERSION_SCHEMA, **asdict(facts)}
                write_text(str(folder / REGISTRY_FILE), json.dumps(content, indent=1) + "\n")
                os.rename(folder, self._versions / version)
                fsync_folder(self._versions)
                return version
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            (self._versions / f"{name}.lock").unlink(missing_ok=True)
            os.close(alive)

    def version(self, name: str) -> Version:
        """See `Registry.version`."""
        folder = self._versions / name
        if not folder.is_dir():
            known = ", ".join(self._version_names()) or "none"
            raise RegistryError(f"{self.root}: there is no version {name!r}; versions are {known}")
        try:
            text = (folder / REGISTRY_FILE).read_text(encoding="utf-8")
            facts = read(VersionFile, text, REGISTRY_FILE, REPLACE_VERSION, schema_version=VERSION_SCHEMA)
        except FileNotFoundError as error:
            raise _incomplete(folder, f"{REGISTRY_FILE}: no such file; {REPLACE_VERSION}") from error
        except UnicodeDecodeError as error:
            raise _incomplete(folder, f"{REGISTRY_FILE}: not UTF-8 ({error}); {REPLACE_VERSION}") from error
        except InputError as error:
            raise _incomplete(folder, str(error)) from error
        if facts.version != name:
            raise _incomplete(folder, f"{REGISTRY_FILE}: is of version {facts.version!r}; {REPLACE_VERSION}")
        if not (folder / MODEL_FILE).is_file():
            raise _incomplete(folder, f"{MODEL_FILE}: no such file; {REPLACE_VERSION}")
        return Version(
            path=str(folder),
            version=facts.version,
            key=facts.key,
            created=facts.created,
            metadata=facts.metadata,
            notes=self._notes(name),
        )

    def list(self) -> tuple[Version, ...]:
        """All complete versions, oldest first."""
        broken = self.incomplete()
        return tuple(self.version(name) for name in self._version_names() if name not in broken)

    def incomplete(self) -> dict[str, str]:
        """See `Registry.incomplete`. Publishing leaves none: such a version was damaged from outside."""
        reasons: dict[str, str] = {}
        for name in self._version_names():
            try:
                self.version(name)
            except RegistryError as error:
                reasons[name] = str(error)
        return reasons

    def aliases(self) -> dict[str, str]:
        """Alias to version name."""
        where = str(self._aliases)
        try:
            values = parse(self._aliases.read_text(encoding="utf-8"), where, RESTORE_ALIASES)
            aliases: dict[str, str] = convert(dict[str, str], values, where, RESTORE_ALIASES)
        except FileNotFoundError:
            return {}
        except UnicodeDecodeError as error:
            raise RegistryError(f"{where}: not UTF-8 ({error}); {RESTORE_ALIASES}") from error
        except InputError as error:
            raise RegistryError(str(error)) from error
        return aliases

    def alias(self, name: str) -> str | None:
        """The version that an alias names, or None."""
        return self.aliases().get(name)

    def champion(self) -> Version | None:
        """See `Registry.champion`."""
        name = self.alias(CHAMPION)
        return None if name is None else self.version(name)

    def swap_alias(self, name: str, version: str, expected: str | None) -> None:
        """See `Registry.swap_alias`."""
        self.version(version)
        with self._lock():
            aliases = self.aliases()
            current = aliases.get(name)
            if current != expected:
                raise moved(name, version, current, expected)
            if name == CHAMPION and current is not None and current != version:
                aliases[PREVIOUS] = current
            if name == CHAMPION and aliases.get(CHALLENGER) == version:
                del aliases[CHALLENGER]
            aliases[name] = version
            remove_temporaries(self._aliases, older_than=0)  # aliases are only written under the lock
            write_text(str(self._aliases), json.dumps(aliases, indent=1, sort_keys=True) + "\n")

    def note(self, version: str, name: str, value: Any) -> None:
        """See `Registry.note`."""
        with self._lock():
            notes = {**self.version(version).notes, name: value}
            write_text(str(self._notes_file(version)), json.dumps(notes, indent=1) + "\n")

    def remove(self, version: str) -> None:
        """See `Registry.remove`. A version that is half removed has a name that nothing reads."""
        with self._lock():
            names = self._version_names()
            if version not in names:
                raise RegistryError(f"{self.root}: there is no version {version!r}")
            aliases = self.aliases()
            reason = in_use(version, aliases, names)
            if not reason and is_pending(self._notes(version), aliases.get(CHAMPION)):
                reason = PENDING
            if reason:
                raise RegistryError(f"{self.root}: {version} is {reason}; it stays")
            gone = self._versions / f"tmp-{uuid.uuid4().hex}"
            os.rename(self._versions / version, gone)
            fsync_folder(self._versions)
            shutil.rmtree(gone)
            self._notes_file(version).unlink(missing_ok=True)

    def linked(self) -> dict[str, str]:
        """Versions that symbolic links in the registry's folder lead to, with the links' names."""
        if not self._versions.is_dir():
            return {}
        found: dict[str, str] = {}
        versions = self._versions.resolve()
        for link in sorted((*self.root.iterdir(), *self._versions.iterdir())):
            target = link.resolve()
            if link.is_symlink() and target.is_relative_to(versions) and target != versions:
                found.setdefault(target.relative_to(versions).parts[0], link.name)
        return found

    def rollback(self) -> tuple[str, str]:
        """See `Registry.rollback`."""
        aliases = self.aliases()
        if CHAMPION not in aliases or PREVIOUS not in aliases:
            raise RegistryError(f"{self.root}: there is no previous champion to return to")
        self.swap_alias(CHAMPION, aliases[PREVIOUS], expected=aliases[CHAMPION])
        return aliases[PREVIOUS], aliases[CHAMPION]

    def _version_names(self) -> tuple[str, ...]:
        if not self._versions.is_dir():
            return ()
        names = (folder.name for folder in self._versions.iterdir())
        return tuple(sorted((name for name in names if re.fullmatch(r"v\d{4,}", name)), key=_number))

    def _notes(self, version: str) -> dict[str, Any]:
        """A version's notes. Outside its folder: what is there is the model, also when a writer is killed."""
        path = self._notes_file(version)
        try:
            notes: dict[str, Any] = convert(
                dict[str, Any], parse(path.read_text("utf-8"), str(path), REPAIR), str(path), REPAIR
            )
        except FileNotFoundError:
            return {}
        except UnicodeDecodeError as error:
            raise RegistryError(f"{path}: not UTF-8 ({error}); {REPAIR}") from error
        except InputError as error:
            raise RegistryError(str(error)) from error
        return notes

    def _notes_file(self, version: str) -> Path:
        return self.root / "notes" / f"{version}.json"

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
                continue  # its publisher is still running
            else:
                shutil.rmtree(self._versions / name, ignore_errors=True)
                (self._versions / f"{name}.lock").unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _number(version: str) -> int:
    return int(version[1:])


def _locked(path: Path) -> int:
    """An open descriptor that holds the exclusive lock of a file until it is closed or its process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _copy_model(model_dir: str, target: Path) -> None:
    """Copies a SavedModel from any file system and flushes every file to disk."""
    import fsspec

    filesystem, source = fsspec.core.url_to_fs(model_dir)
    found = {os.path.relpath(file, source): file for file in sorted(filesystem.find(source))}
    names = [name for name in found if name not in NOT_THE_MODEL]
    if MODEL_FILE not in names:
        raise InputError(f"{model_dir}: contains no {MODEL_FILE}; give the folder that centernet export wrote")
    target.mkdir()
    for name in names:
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        with filesystem.open(found[name], "rb") as reader, open(copy, "wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
            writer.flush()
            os.fsync(writer.fileno())
    for folder in {(target / name).parent for name in names}:
        fsync_folder(folder)


def _incomplete(folder: Path, why: str) -> RegistryError:
    """The error of a version that cannot be served; `why` ends with what to do."""
    return RegistryError(f"{folder}: this version is incomplete: {why}")
