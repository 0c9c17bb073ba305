"""The reason code of an image that the model refuses."""

import io

import pytest
from PIL import Image

from beam_preprocess.format.reasons import Reason
from tests.trainer.scoring.made_images import huge_png
from tests.trainer.validation_images import random_jpeg
from trainer.scoring.problems import explain


def saved(kind: str, mode: str) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (8, 8)).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.ZERO_SIZE),
        (b"text", Reason.NOT_AN_IMAGE),
        (b"\xff\xd8\xff", Reason.TRUNCATED_IMAGE),
        (random_jpeg(20, 30)[:-200], Reason.TRUNCATED_IMAGE),
        (huge_png(), Reason.TOO_MANY_PIXELS),
        (saved("TIFF", "RGB"), Reason.UNSUPPORTED_FORMAT),
        (saved("BMP", "P"), Reason.UNSUPPORTED_FORMAT),
        (random_jpeg(20, 30), Reason.UNREADABLE_IMAGE),  # of which nothing is wrong but that the model refused it
    ],
)
def test_a_reason_code(data: bytes, reason: Reason) -> None:
    assert explain(data)[0] is reason
    assert explain(data)[1]
