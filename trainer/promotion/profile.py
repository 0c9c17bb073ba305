"""Puts the profile that the evaluation measured into a published model's folder."""

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_bytes
from trainer.profile.profile import parse_profile
from trainer.promotion.evaluation import PROFILE, read_part
from trainer.registry.digest import PROFILE_FILE


def write_profile(model: str, evaluation: str) -> str:
    """Writes `profile.npz` into the folder of a published model, from the evaluation that it was judged by.

    Args:
      model: URI of the published model's folder.
      evaluation: URI of its evaluation.json.

    Returns:
      What was written, or why nothing was: a promotion does not fail for it.
    """
    try:
        content = read_part(evaluation, PROFILE)
        profile = parse_profile(content, PROFILE)
    except InputError as error:
        return f"{PROFILE_FILE}: not written ({error}); `centernet watch` needs validation images for this version"
    write_bytes(f"{model.rstrip('/')}/{PROFILE_FILE}", content)
    return f"{PROFILE_FILE}: {len(profile.rows)} images, to compare new images with"
