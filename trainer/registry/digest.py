"""One number for the content of a SavedModel's folder, so that what was judged is what is promoted."""

import hashlib
import posixpath

from beam_preprocess.base.errors import InputError

FIX = "give the folder of a SavedModel"
BLOCK = 1 << 20
REGISTRY_FILE = "version.json"
"""What the local registry adds to a version's folder; it is no part of the model: a version has its export's digest."""


def model_digest(model: str) -> str:
    """sha256 over the sorted relative paths of all files (a registry's version.json aside) and their contents, hex.

    Args:
      model: URI of the SavedModel's folder.

    Raises:
      InputError: no such folder, it holds no file, or a file cannot be read.
    """
    import fsspec

    filesystem, root = fsspec.core.url_to_fs(model)
    root = root.rstrip("/")
    try:
        paths = sorted(path for path in filesystem.find(root) if posixpath.relpath(path, root) != REGISTRY_FILE)
        if not paths or paths == [root]:
            raise InputError(f"{model}: holds no file; {FIX}")
        digest = hashlib.sha256()
        for path in paths:
            # Lengths separate names and contents: without them two different folders could give the same bytes.
            name = posixpath.relpath(path, root).encode()
            digest.update(f"{len(name)} {filesystem.size(path)}\n".encode() + name)
            with filesystem.open(path, "rb") as file:
                while block := file.read(BLOCK):
                    digest.update(block)
    except OSError as error:
        raise InputError(f"{model}: cannot be read ({' '.join(str(error).split())}); {FIX}") from error
    return digest.hexdigest()
