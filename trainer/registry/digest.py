"""The digest of a SavedModel's folder, so that the promoted model is the judged one."""

import hashlib
import posixpath

from beam_preprocess.base.errors import InputError

GIVE_MODEL = "give the folder of a SavedModel"
BLOCK = 1 << 20
REGISTRY_FILE = "version.json"
"""The local registry adds it to a version's folder. It is not part of the model: a version has its export's digest."""
SERVING_FILE = "serving.json"
"""Promotion adds it to a published model's folder. The model is judged before its thresholds are known."""
SMOKE_FILE = "smoke.json"
"""Promotion adds it as well: images with recorded detections, to test a deployment with."""
PROFILE_FILE = "profile.npz"
"""And the profile: what its validation images look like, to compare new images with."""
NOT_THE_MODEL = (REGISTRY_FILE, SERVING_FILE, SMOKE_FILE, PROFILE_FILE)
"""Files at the top of a model's folder that are outside its digest."""


def model_digest(model: str) -> str:
    """Hex sha256 of the sorted relative paths of all files (except NOT_THE_MODEL) and their contents.

    Args:
      model: URI of the SavedModel's folder.

    Raises:
      InputError: there is no such folder, it contains no files, or a file cannot be read.
    """
    import fsspec

    filesystem, root = fsspec.core.url_to_fs(model)
    root = root.rstrip("/")
    try:
        paths = sorted(path for path in filesystem.find(root) if posixpath.relpath(path, root) not in NOT_THE_MODEL)
        if not paths or paths == [root]:
            raise InputError(f"{model}: contains no files; {GIVE_MODEL}")
        digest = hashlib.sha256()
        for path in paths:
            # Lengths separate names from contents: without them, two different folders could give the same bytes.
            name = posixpath.relpath(path, root).encode()
            digest.update(f"{len(name)} {filesystem.size(path)}\n".encode() + name)
            with filesystem.open(path, "rb") as file:
                while block := file.read(BLOCK):
                    digest.update(block)
    except OSError as error:
        raise InputError(f"{model}: cannot be read ({' '.join(str(error).split())}); {GIVE_MODEL}") from error
    return digest.hexdigest()
