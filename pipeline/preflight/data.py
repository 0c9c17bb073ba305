"""Does the data exist? On this machine, or in a bucket."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from beam_preprocess.base.errors import InputError
from beam_preprocess.dataset.check import examine_annotations
from beam_preprocess.dataset.validate import validate_images
from beam_preprocess.dataset.warnings import refuse
from beam_preprocess.format.annotations import CocoAnnotations
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.file_names import local_files
from beam_preprocess.format.sources import none_found, usable_names

SPLITS = ("train", "val")


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalData:
    """Data on this machine whose annotation files are sound."""

    parsed: Mapping[str, CocoAnnotations]
    """By split."""
    folders: Mapping[str, str]
    """The image folders, by split."""
    warnings: tuple[str, ...]
    """What the annotation files show. The first step of the run also reads the images."""


def check_data(data: Mapping[str, str], config: PreprocessConfig, *, strict: bool = False) -> LocalData:
    """Checks both annotation files, and that each lists at least one image in its folder. Opens no image.

    Args:
      data: paths by the name of the pipeline's parameter; other parameters are ignored.
      config: the `preprocess:` section.
      strict: makes warnings errors.

    Raises:
      InputError: a file or folder fails a check, or the data cannot mean what it says.
    """
    folders = {split: data[f"{split}_images"] for split in SPLITS}
    for split, images in folders.items():
        if not os.path.isdir(images):
            raise InputError(f"--{split}-images {images}: no such folder; give the folder that contains the images")
    sources = {split: (folders[split], data[f"{split}_annotations"]) for split in SPLITS}
    parsed, _, _, findings = examine_annotations(sources, config)
    for split, coco in parsed.items():
        try:
            _check_folder(coco, folders[split])
        except InputError as error:
            raise InputError(f"--{split}-images: {error}") from error
    refuse(findings, strict=strict)
    return LocalData(parsed=parsed, folders=folders, warnings=tuple(finding.message for finding in findings))


def _check_folder(coco: CocoAnnotations, images: str) -> None:
    names = usable_names(coco, *validate_images(coco), images)
    if not any(os.path.isfile(os.path.join(images, name)) for name in names):
        raise InputError(none_found(images, names, coco.uri, local_files(images)))


def check_buckets(data: Mapping[str, str], pipeline_root: str) -> list[str]:
    """Checks that annotation files, image folders and the bucket of the pipeline root exist.

    Args:
      data: URIs by the name of the pipeline's parameter; image folders end with "images".
      pipeline_root: URI of a folder; only its bucket must exist.

    Returns:
      What could not be checked, and why (no permission, no credentials). The first step of the run checks it again.

    Raises:
      InputError: one does not exist.
    """
    wanted = [(name, uri, "folder" if name.endswith("images") else "file") for name, uri in data.items()]
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


def exists_in_bucket(uri: str) -> bool:
    """Whether there is an object, or a folder with objects."""
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(uri)
    try:
        filesystem.info(path)
    except FileNotFoundError:
        return False
    return True


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
