"""Validation images that look like training images: frames of one video, or copies that were encoded again."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_text, write_text
from beam_preprocess.dataset.warnings import EXAMPLES
from beam_preprocess.format.fingerprints import NAME, Pair, from_lines, near_duplicates


def compare_records(train: str, val: str, listed: str) -> str:
    """Compares the images of two folders of records, and lists the pairs in a file.

    Args:
      train: folder of the training records.
      val: folder of the validation records.
      listed: file for the list, one line of JSON per pair. It is written only if there are pairs.

    Returns:
      The warning; "" if there are none, or if the records have no fingerprints (those of older versions).
    """
    try:
        known, wanted = (from_lines(read_text(f"{f.rstrip('/')}/{NAME}", "preprocess again")) for f in (train, val))
    except InputError:
        return ""
    pairs, compared = near_duplicates(known, wanted)
    if not pairs:
        return ""
    write_text(listed, "".join(json.dumps(asdict(pair)) + "\n" for pair in pairs))
    return f"{warning(pairs, compared, wanted)}; all of them: {listed}"


def warning(pairs: list[Pair], compared: int, val: Mapping[str, str]) -> str:
    """The message for a user.

    Args:
      pairs: at least one.
      compared: number of validation images that were compared.
      val: fingerprints of the validation images.
    """
    shown = "; ".join(f"{pair.val} like {pair.train} of train" for pair in pairs[:EXAMPLES])
    part = "" if compared == len(val) else f" (the first {compared} of {len(val)} were compared)"
    return (
        f"{len(pairs)} of {compared} validation images look like training images{part}: {shown}. Copies and frames of "
        "one video raise the score; split by video or place instead"
    )
