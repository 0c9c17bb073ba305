"""Does the data exist? On this machine, or in a bucket."""

import os
from collections.abc import Mapping

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotations import load_annotations

SPLITS = ("train", "val")


def check_data(data: Mapping[str, str]) -> None:
    """Checks that both annotation files are COCO's format, and that each lists at least one image in its folder.

    Args:
      data: paths by the name of the pipeline's parameter; other parameters are ignored.

    Raises:
      InputError: a file or folder fails a check.
    """
    for split in SPLITS:
        images, annotations = data[f"{split}_images"], data[f"{split}_annotations"]
        if not os.path.isdir(images):
            raise InputError(f"--{split}-images {images}: no such folder; give the folder that contains the images")
        names = load_annotations(annotations).file_names
        if not any(os.path.isfile(os.path.join(images, name)) for name in names):
            raise InputError(
                f"--{split}-images {images}: contains none of the {len(names)} images of {annotations} "
                f"(such as {names[0]!r}); give the folder that contains them"
            )


def check_buckets(data: Mapping[str, str], pipeline_root: str) -> list[str]:
    """Checks that annotation files, image folders and the bucket of the pipeline root exist.

    Args:
      data: URIs by the name of the pipeline's parameter; image folders end with "_images".
      pipeline_root: URI of a folder; only its bucket must exist.

    Returns:
      What could not be checked, and why (no permission, no credentials). The first step of the run checks it again.

    Raises:
      InputError: one does not exist.
    """
    wanted = [(name, uri, "folder" if name.endswith("_images") else "file") for name, uri in data.items()]
    wanted.append(("pipeline_root", pipeline_root, "bucket"))
    unchecked = []
    for name, uri, kind in wanted:
        if not uri.startswith("gs://"):
            continue
        flag = f"--{name.replace('_', '-')}"
        try:
            exists = _exists(uri, kind)
        except Exception as error:  # gcsfs and google-auth raise many kinds, and none of them proves the data wrong
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            unchecked.append(f"{flag} {uri}: could not be checked ({reason})")
            continue
        if not exists:
            raise InputError(f"{flag} {uri}: no such {kind}; give the URI of one that exists")
    return unchecked


def _exists(uri: str, kind: str) -> bool:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(uri)
    try:
        if kind == "bucket":
            # Lists one object instead of asking for the bucket: that needs a role that readers of the data may lack,
            # and gcsfs would then report an empty bucket as absent.
            filesystem.call("GET", "b/{}/o", path.partition("/")[0], maxResults=1)
            return True
        found = filesystem.info(path)  # not isfile or isdir: they report what may not be read as absent
    except FileNotFoundError:
        return False
    return bool((found["type"] == "file") == (kind == "file"))
