"""Fingerprints: what a copy keeps, and what two images share."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from beam_preprocess.format import fingerprints
from beam_preprocess.format.fingerprints import (
    Pair,
    alike,
    distinct,
    fingerprint,
    from_lines,
    near_duplicates,
    to_lines,
)


def photo(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)


def encoded_again(pixels: np.ndarray, quality: int = 50) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))


def distance(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_near_and_others_are_far(seed: int) -> None:
    code = fingerprint(photo(seed))
    assert len(code) == 32
    copies = (encoded_again(photo(seed)), cv2.resize(photo(seed), (160, 120), interpolation=cv2.INTER_AREA))
    for copy in copies:
        assert distance(code, fingerprint(copy)) <= fingerprints.MAX_DISTANCE
    assert distance(code, fingerprint(photo(seed + 100))) > 3 * fingerprints.MAX_DISTANCE


def test_an_empty_image_has_none() -> None:
    assert fingerprint(np.full((50, 50, 3), 120, np.uint8)) == ""


def test_the_closest_training_image_is_named() -> None:
    train = {f"t{i}": fingerprint(photo(i)) for i in range(20)}
    val = {"same": train["t3"], "copy": fingerprint(encoded_again(photo(7))), "other": fingerprint(photo(99))}
    pairs, compared = near_duplicates(train, val)
    assert (pairs[0], compared) == (Pair("same", "t3", 0), 3)
    assert [(pair.val, pair.train) for pair in pairs[1:]] == [("copy", "t7")]
    assert near_duplicates({}, val) == ([], 0)


def test_which_images_look_like_one() -> None:
    codes = [fingerprint(encoded_again(photo(1))), "", fingerprint(photo(2)), fingerprint(photo(1))]
    assert alike(fingerprint(photo(1)), codes).tolist() == [True, False, False, True]
    assert not alike("", codes).any()
    assert alike(codes[0], ["", ""]).tolist() == [False, False]


def test_a_large_data_set_is_compared_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    train = {f"t{i}": fingerprint(photo(i)) for i in range(10)}
    monkeypatch.setattr(fingerprints, "MAX_PAIRS", 30)
    monkeypatch.setattr(fingerprints, "_CHUNK", 20)
    assert near_duplicates(train, {f"v{i}": train["t1"] for i in range(9)})[1] == 3


def test_the_file_comes_back() -> None:
    codes = {"b/é.jpg": "0" * 32, "a.jpg": "f" * 32}
    assert from_lines(to_lines(codes)) == codes
    assert to_lines(codes).splitlines()[0].startswith('{"file_name": "a.jpg"')


def test_of_images_that_look_alike_one_is_kept() -> None:
    first, other = "00" * 16, "f0" * 16
    near, far = "3f" + "00" * 15, "7f" + "00" * 15  # 6 and 7 different bits
    codes = [first, "", near, far, "", other, first, far]
    assert distinct(codes).tolist() == [True, True, False, True, True, True, False, False]
    assert distinct([]).tolist() == []
    assert distinct(["", ""]).tolist() == [True, True]
