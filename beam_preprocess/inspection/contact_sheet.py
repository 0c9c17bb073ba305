"""A contact sheet: the stored views of a few images, drawn with their heatmaps and boxes. OpenCV; no Beam."""

import io
import itertools
from collections.abc import Iterator

import cv2
import numpy as np

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_bytes
from beam_preprocess.base.storage import file_system, reason, refusals
from beam_preprocess.format.images import decode as decode_image
from beam_preprocess.format.manifest import Manifest
from beam_preprocess.format.records import Record, decode
from beam_preprocess.format.targets import SparseTargets, manifest_code_table
from beam_preprocess.format.tfrecord import read_records

NAME = "preview.jpg"
TILE = 256
"""Longer side of a drawn view, in pixels."""
MAX_VIEWS = 64
"""Maximum number of columns, from view 0 on: a JPEG has at most 65,535."""
GAP = 4
_CAPTION = 18


def write_contact_sheet(folder: str, manifest: Manifest, images: int) -> str:
    """Draws the first images of the records into `preview.jpg`, with one row per image and one column per view.

    Args:
      folder: the folder of records, a path or URI.
      manifest: the folder's manifest.
      images: maximum number of rows.

    Returns:
      The file's path or URI.

    Raises:
      InputError: a shard is damaged or cannot be read, or the file cannot be written.
    """
    names = {category.index: category.name for category in manifest.categories}
    rows = [
        np.hstack([_tile(record, manifest, names) for record in views[:MAX_VIEWS]])
        for views in itertools.islice(_views_by_image(folder, manifest), images)
    ]
    sheet = np.vstack(rows) if rows else np.zeros((TILE, TILE, 3), np.uint8)
    path = f"{folder.rstrip('/')}/{NAME}"
    try:
        write_bytes(path, cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
    except refusals() as error:
        raise InputError(f"{path}: cannot be written ({reason(error)}); make the folder writable") from error
    return path


def _views_by_image(folder: str, manifest: Manifest) -> Iterator[list[Record]]:
    """All views of one image after the other. The files of a shard hold the same images in the same order.

    Raises:
      InputError: a shard is damaged or cannot be read.
    """
    height, width = manifest.parameters["image_size"]
    stride = manifest.parameters["stride"]
    codes = len(manifest_code_table(manifest.parameters).values)
    by_shard = sorted(manifest.shards, key=lambda shard: (shard.shard, shard.view))
    for number, files in itertools.groupby(by_shard, key=lambda shard: shard.shard):
        streams = [read_records(io.BytesIO(_content(folder, file.name))) for file in files]
        try:
            for views in zip(*streams, strict=True):
                yield [decode(data, (height // stride, width // stride), codes) for data in views]
        except ValueError as error:
            raise InputError(f"{folder}: shard {number} is damaged ({reason(error)}); see --verify") from error


def _content(folder: str, name: str) -> bytes:
    fs, root = file_system(folder)
    try:
        return bytes(fs.cat_file(f"{root.rstrip('/')}/{name}"))
    except refusals() as error:
        raise InputError(f"{folder}/{name}: cannot be read ({reason(error)}); see --verify") from error


def _tile(record: Record, manifest: Manifest, names: dict[int, str]) -> np.ndarray:
    """The view with its caption: RGB, uint8 [height, width, 3], at most [TILE + caption, TILE, 3] without the gap."""
    pixels = decode_image(record.image, tuple(manifest.parameters["image_size"])).pixels
    zoom = TILE / max(pixels.shape[:2])
    size = max(1, round(pixels.shape[1] * zoom)), max(1, round(pixels.shape[0] * zoom))
    shown = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    shown = _glow(shown, record.targets, manifest)
    tile = np.ascontiguousarray(shown.clip(0, 255).astype(np.uint8))
    _draw_boxes(tile, record.targets, manifest, names)
    caption = np.full((_CAPTION, tile.shape[1], 3), 30, np.uint8)
    text = f"{record.image_id} view {record.view_number}"
    cv2.putText(caption, text, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    framed = np.vstack([caption, tile])
    return np.pad(framed, ((0, GAP), (0, GAP), (0, 0)))


def _glow(shown: np.ndarray, targets: SparseTargets, manifest: Manifest) -> np.ndarray:
    """The heatmap blended over the picture: each class in its colour, crowd regions in gray."""
    height, width = manifest.parameters["image_size"]
    stride = manifest.parameters["stride"]
    values = manifest_code_table(manifest.parameters).values[targets.cell_code]
    light = np.zeros(((height // stride) * (width // stride), 3), np.float32)
    for is_crowd, index in sorted(set(zip(targets.cell_crowd.tolist(), targets.cell_class.tolist(), strict=True))):
        own = (targets.cell_class == index) & (targets.cell_crowd == is_crowd)
        colour = np.array((128, 128, 128) if is_crowd else _colour(index), np.float32)
        cells = targets.cell_index[own]
        light[cells] = np.maximum(light[cells], values[own, None] * colour)
    light = light.reshape(height // stride, width // stride, 3)
    scaled = cv2.resize(light, (shown.shape[1], shown.shape[0]), interpolation=cv2.INTER_NEAREST)
    strength = scaled.max(axis=2, keepdims=True) / 255
    return shown * (1 - 0.75 * strength) + 0.75 * scaled


def _draw_boxes(tile: np.ndarray, targets: SparseTargets, manifest: Manifest, names: dict[int, str]) -> None:
    height, width = manifest.parameters["image_size"]
    columns = width // manifest.parameters["stride"]
    zoom = np.array(tile.shape[:2]) * manifest.parameters["stride"] / np.array([height, width])
    centres = np.stack(np.divmod(targets.object_cell, columns), axis=1) + targets.object_offset
    for centre, size, index, crowd in zip(
        centres, targets.object_size, targets.object_class.tolist(), targets.object_crowd.tolist(), strict=True
    ):
        top, left = ((centre - size / 2) * zoom).round().astype(int).tolist()
        bottom, right = ((centre + size / 2) * zoom).round().astype(int).tolist()
        colour = (128, 128, 128) if crowd else _colour(index)
        cv2.rectangle(tile, (left, top), (right - 1, bottom - 1), colour, 1)
        label = f"{names.get(index, str(index))}{' (crowd)' if crowd else ''}".encode("ascii", "replace").decode()
        cv2.putText(tile, label, (left + 2, max(top + 10, 10)), cv2.FONT_HERSHEY_SIMPLEX, 0.35, colour, 1, cv2.LINE_AA)


def _colour(index: int) -> tuple[int, int, int]:
    """A class's RGB colour. Neighbouring classes get distant hues (the golden angle)."""
    hue = np.uint8(round(index * 0.618034 * 180) % 180)
    red, green, blue = cv2.cvtColor(np.array([[[hue, 220, 255]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue
