"""Can a run write to its folders?"""

import uuid
from pathlib import Path

from beam_preprocess.base.errors import InputError


def check_writable(folder: Path, flag: str) -> None:
    """Makes the folder, and writes and deletes a file in it.

    Raises:
      InputError: that is not possible.
    """
    probe = folder / f".probe-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{flag} {folder}: cannot be written ({error.strerror}); choose another folder") from error
