"""Image files that a user names: files, folders and glob patterns. No TensorFlow."""

import glob
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.storage import file_system, reason, refusals

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
"""What the exported model decodes."""
DRAWN = ".detections.png"
"""End of the name of a picture with drawn detections. Such pictures in a folder are not taken for images again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """What was found."""

    files: tuple[str, ...]
    """In the order given; in folders and patterns by name. Each once."""
    problems: tuple[str, ...]
    """One line per argument that names no image."""
    notes: tuple[str, ...]
    """One line per folder in which other files were left out."""


def find_images(arguments: Sequence[str]) -> Named:
    """Finds the images.

    Args:
      arguments: image files, folders (every image in them and below) and glob patterns ("**" for all levels), as local
        paths or URIs. A file that is named itself is taken whatever its name ends with.
    """
    files: dict[str, None] = {}
    problems, notes = [], []
    for argument in arguments:
        try:
            found, left_out = _remote(argument) if "://" in argument else _local(argument)
        except InputError as error:
            problems.append(str(error))
            continue
        except refusals() as error:
            problems.append(f"{argument}: cannot be read ({reason(error)}); check the name and the rights")
            continue
        files |= dict.fromkeys(found)
        if left_out:
            others = "1 file that is not an image" if left_out == 1 else f"{left_out} files that are not images"
            notes.append(f"{argument}: left out {others}")
    return Named(files=tuple(files), problems=tuple(problems), notes=tuple(notes))


def _local(argument: str) -> tuple[list[str], int]:
    """(images, number of other files) that an argument names.

    Raises:
      InputError: none, or not a regular file.
    """
    try:
        mode = os.stat(argument).st_mode
    except FileNotFoundError:
        if not glob.has_magic(argument):
            raise InputError(f"{argument}: no such image; check the name") from None
        found = sorted(glob.glob(argument, recursive=True))
        return _images_in(argument, [path for path in found if not os.path.isdir(path)], os.path.isfile)
    except ValueError as error:  # a null byte
        raise InputError(f"{argument!r}: not the name of a file ({error})") from error
    if stat.S_ISDIR(mode):
        return _images_in(argument, list(_walk(argument)), os.path.isfile)
    if not stat.S_ISREG(mode):
        raise InputError(f"{argument}: not a regular file (a {_kind(mode)}); name an image, a folder or a pattern")
    return [argument], 0


def _walk(folder: str) -> Iterator[str]:
    def unreadable(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}); check the rights of the folder")

    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in sorted(names):
            yield os.path.join(parent, name)


def _remote(argument: str) -> tuple[list[str], int]:
    """The same for a URI."""
    fs, path = file_system(argument)
    if glob.has_magic(argument):
        return _images_in(argument, [fs.unstrip_protocol(name) for name in sorted(fs.glob(path)) if fs.isfile(name)])
    if fs.isdir(path):
        return _images_in(argument, [fs.unstrip_protocol(name) for name in sorted(fs.find(path))])
    return [argument], 0


def _images_in(
    argument: str, every: list[str], is_file: Callable[[str], bool] = lambda path: True
) -> tuple[list[str], int]:
    images = [path for path in every if path.lower().endswith(SUFFIXES) and not path.endswith(DRAWN) and is_file(path)]
    if not images:
        raise InputError(f"{argument}: no image there; images end in {', '.join(SUFFIXES)}")
    return images, len(every) - len(images)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    return kinds.get(stat.S_IFMT(mode), "special file")


def picture_names(files: Sequence[str]) -> list[str]:
    """Names for the drawn pictures of files, all different, also where upper and lower case are the same.

    A name is the image's, without its ending. Files that share one keep their endings, and those that still do get the
    names of their folders.
    """
    names: dict[int, str] = {}
    taken = set[str]()
    waiting = list(range(len(files)))
    parts = [[part for part in path.replace("://", "/").replace("\\", "/").split("/") if part] for path in files]
    level = 0
    while waiting:
        if level == 0:
            proposed = {i: os.path.splitext(parts[i][-1])[0] for i in waiting}
        else:
            proposed = {i: "-".join(parts[i][-level:]) for i in waiting}
        if level > max(map(len, parts)):  # two paths with the same parts, such as a-b/c and a/b-c
            proposed = {i: f"{'-'.join(parts[i])}-{i + 1}" for i in waiting}
        counts: dict[str, int] = {}
        for name in proposed.values():
            counts[name.casefold()] = counts.get(name.casefold(), 0) + 1
        for i, name in proposed.items():
            if counts[name.casefold()] == 1 and name.casefold() not in taken:
                names[i] = name
                taken.add(name.casefold())
        waiting = [i for i in waiting if i not in names]
        level += 1
    return [f"{names[i]}{DRAWN}" for i in range(len(files))]
