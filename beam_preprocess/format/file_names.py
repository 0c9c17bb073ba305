"""Which form of a file name is in an image folder, when the name itself is not. Standard library only.

Exports of other tools write names with backslashes, in another case, in another Unicode form, percent-encoded, without
an extension, or with a folder too many or too few.
"""

import itertools
import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

MAX_FILES = 200_000
"""Number of files of a folder that are looked at."""

_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{6,}[-_]")
"""What Label Studio and others put before the name of an uploaded file."""


@dataclass(frozen=True, slots=True)
class Form:
    """A name that is in the folder, and what to change so that the annotations give it."""

    name: str
    change: str

    def __str__(self) -> str:
        return f"{self.name!r} is there: {self.change}"


def local_files(folder: str) -> list[str]:
    """Paths of the files below a local folder, relative to it, at most `MAX_FILES`."""
    found = (
        posixpath.join(os.path.relpath(parent, folder).replace(os.sep, "/"), name).removeprefix("./")
        for parent, _, names in os.walk(folder)
        for name in names
    )
    return list(itertools.islice(found, MAX_FILES))


def find_form(name: str, files: Sequence[str], folder: str) -> Form | None:
    """The form of a name that is among the files.

    Args:
      name: as in the annotations.
      files: paths of the files in the folder, relative to it.
      folder: the image folder, whose own name may be what is too many.
    """
    present = set(files)
    spellings = list(_spellings(name))
    for spelled, changes in spellings:
        if spelled in present:
            return Form(spelled, _sentence(changes))
    lookups: tuple[tuple[Callable[[str], str], str], ...] = (
        (str.casefold, "use the same case in file_name, or rename the files"),
        (_normal, "use one Unicode form (NFC) in file_name and on disk"),
        (_without_extension, "give file_name the file's extension"),
        (lambda path: _without_extension(path).casefold(), "give file_name the file's case and extension"),
    )
    for key, change in lookups:
        by_key: dict[str, str] = {}
        for path in files:
            by_key.setdefault(key(path), path)
        for spelled, changes in spellings:
            if (found := by_key.get(key(spelled))) is not None:
                return Form(found, _sentence([*changes, change]))
    return _other_folder(spellings, files, present, folder)


def _other_folder(
    spellings: Iterable[tuple[str, list[str]]], files: Sequence[str], present: set[str], folder: str
) -> Form | None:
    """A name with a folder too many, or too few."""
    for spelled, changes in spellings:
        parts = spelled.strip("/").split("/")
        for start in range(1, len(parts)):
            shorter = "/".join(parts[start:])
            if shorter in present:
                extra = "/".join(parts[:start])
                change = f"remove {extra + '/'!r} from file_name"
                root = folder.rstrip("/")
                if root.endswith(f"/{extra}") or root == extra:
                    change += f", or give {root[: -len(extra)].rstrip('/') or '.'} as the folder"
                return Form(shorter, _sentence([*changes, change]))
    by_end: dict[str, str] = {}
    for path in files:
        by_end.setdefault(posixpath.basename(path), path)
    for spelled, changes in spellings:
        found = by_end.get(posixpath.basename(spelled))
        if found is not None and found.endswith(f"/{spelled}"):
            change = f"give {folder.rstrip('/')}/{found[: -len(spelled) - 1]} as the folder"
            return Form(found, _sentence([*changes, change]))
        if found is not None:
            return Form(found, _sentence([*changes, "write the path below the image folder into file_name"]))
    for spelled, changes in spellings:
        base = posixpath.basename(spelled)
        stripped = _UPLOAD_PREFIX.sub("", base, count=1)
        if stripped != base and stripped in by_end:
            return Form(by_end[stripped], _sentence([*changes, "remove the upload's prefix from file_name"]))
    by_key = {_without_extension(_normal(base)): path for base, path in by_end.items()}
    for spelled, _ in spellings:
        found = by_key.get(_without_extension(_normal(posixpath.basename(spelled))))
        if found is not None:
            return Form(found, "write that path into file_name")
    return None


def _spellings(name: str) -> Iterable[tuple[str, list[str]]]:
    """(the name with some of the changes, what they are), fewest changes first."""
    changes: tuple[tuple[Callable[[str], str], str], ...] = (
        (lambda text: text.replace("\\", "/"), "write / instead of \\ in file_name"),
        (unquote, "write the characters themselves instead of %-codes in file_name"),
        (lambda text: unicodedata.normalize("NFC", text), "use the Unicode form NFC in file_name"),
        (lambda text: unicodedata.normalize("NFD", text), "use the Unicode form NFD in file_name"),
    )
    url = "://" in name
    name = _path_of_url(name) if url else name
    seen = set()
    for count in range(len(changes) + 1):
        for chosen in itertools.combinations(changes, count):
            text, used = name, ["file_name is a URL"] if url else []
            for change, words in chosen:
                if (changed := change(text)) != text:
                    text = changed
                    used.append(words)
            text = posixpath.normpath(text) if text else text
            if text not in seen:
                seen.add(text)
                yield text, used


def _path_of_url(text: str) -> str:
    try:
        return urlsplit(text).path
    except ValueError:
        return text


def _normal(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _without_extension(path: str) -> str:
    stem, extension = posixpath.splitext(path)
    return stem if re.fullmatch(r"\.[A-Za-z]{3,5}", extension) else path


def _sentence(changes: Sequence[str]) -> str:
    return "; ".join(changes) or "write it so in file_name"
