"""The profile that new images are compared with: the version's own, or one made now from validation images."""

import hashlib
from dataclasses import dataclass

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import exists, read_bytes
from trainer.profile.profile import Profile, parse_profile
from trainer.registry.digest import PROFILE_FILE
from trainer.registry.named import NamedModel


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """A profile, and where it comes from."""

    profile: Profile
    where: str
    """URI of its file, or of the validation images that it was made from."""
    digest: str
    """sha256 of its content."""


def stored_profile(model: NamedModel, digest: str) -> Origin | None:
    """The profile in a model's folder; None if it has none.

    Args:
      model: the model.
      digest: its `model_digest`.

    Raises:
      InputError: it is damaged, or another model's.
    """
    where = f"{model.folder.rstrip('/')}/{PROFILE_FILE}"
    if not exists(where):
        return None
    content = read_bytes(where, "promote the model again")
    profile = parse_profile(content, where)
    if profile.model_digest != digest:
        raise InputError(
            f"{where}: was measured with another model ({profile.model_digest[:12]}…); promote the model again, or "
            "remove the file and give --val-images"
        )
    return Origin(profile=profile, where=where, digest=hashlib.sha256(content).hexdigest())


def missing(model: NamedModel) -> InputError:
    """The error of a model that has no profile, when no validation images are given either."""
    name = model.version or model.folder
    return InputError(
        f"{name}: has no {PROFILE_FILE}, which promotions write since `centernet watch` exists; give its validation "
        "images with --coco-dir, or --val-images and --val-annotations, to make one now"
    )
