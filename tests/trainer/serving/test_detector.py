import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.validation_images import random_jpeg
from trainer.serving.batcher import SIZES
from trainer.serving.detector import Detector, Refused

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them

BROKEN = b"\xff\xd8\xff broken"


def huge_png() -> bytes:
    """A small file that announces 20,000 x 20,000 pixels."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + b"IHDR" + header + checksum


@pytest.fixture(scope="module")
def detector(exported: Path) -> Detector:
    made = Detector(str(exported))
    made.warm_up(SIZES[:2])
    return made


def test_a_broken_image_fails_alone_and_says_why(detector: Detector) -> None:
    good = [random_jpeg(30 + 5 * i, 50 - 3 * i, seed=i) for i in range(6)]
    answers = detector([*good[:2], BROKEN, *good[2:5], huge_png(), good[5]])
    refused = {i: answer.reason for i, answer in enumerate(answers) if isinstance(answer, Refused)}
    assert refused == {
        2: "cannot be decoded as JPEG, PNG, GIF, BMP or WebP",
        6: "more than 89478485 pixels (width times height); send smaller images",
    }
    sizes = [answer["image_size"].tolist() for answer in answers if not isinstance(answer, Refused)]
    assert sizes == [[30 + 5 * i, 50 - 3 * i] for i in range(6)], "each answer belongs to its image"
    for image, answer in zip(good, (a for a in answers if not isinstance(a, Refused)), strict=True):
        (alone,) = detector([image])
        assert not isinstance(alone, Refused)
        np.testing.assert_allclose(answer["detection_scores"], alone["detection_scores"], atol=1e-6)


@pytest.mark.parametrize("image", [b"", b"hello"])
def test_what_is_not_an_image_is_refused(detector: Detector, image: bytes) -> None:
    assert detector([image]) == [Refused("cannot be decoded as JPEG, PNG, GIF, BMP or WebP")]
