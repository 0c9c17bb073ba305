"""A contact sheet of what the network sees: real records after the augmentation on the device.

Each image has a row, with its heatmap (all classes) below it. The first column is the record as stored; each other
column is one step of the training. Flip, brightness, contrast, saturation and hue are drawn from (seed, step, image),
so the sheet shows exactly what a training with this seed draws at that step, on any number of replicas and also after a
resume.
"""

import io
import os

import numpy as np
import tensorflow as tf

from beam_preprocess.base import files
from beam_preprocess.base.errors import InputError
from beam_preprocess.format.manifest import Manifest
from trainer.config.experiment import STRIDE, CenterNetTask
from trainer.data import augmentation, heatmap, input_pipeline
from trainer.data.heatmap import Labels
from trainer.shared.draw import TRUTH_COLOUR, draw_detections

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
GAP = 6
"""Pixels between two pictures."""
HEAT = np.array([255.0, 96.0, 0.0])
"""RGB of a heatmap value of 1."""
PAPER = 255


def preview(
    task: CenterNetTask, manifest: Manifest, *, output: str, images: int = 4, steps: tuple[int, ...] = (0, 1, 2, 3)
) -> np.ndarray:
    """Writes the contact sheet of the first images that a training reads.

    Args:
      task: the `task:` section, fitted to the records; `train_data` has their folder and the seed.
      manifest: of the records.
      output: the picture, a path or URI that ends with .jpg or .png.
      images: rows.
      steps: global steps, one column each.

    Returns:
      The sheet, uint8 [height, width, 3].

    Raises:
      InputError: damaged records, or bad values.
    """
    suffix = os.path.splitext(output)[1].lower()
    if suffix not in FORMATS:
        raise InputError(f"--output {output}: {suffix or 'no'} ending; use one of {', '.join(FORMATS)}")
    if min(steps, default=-1) < 0:
        raise InputError(f"--steps {' '.join(map(str, steps)) or '(none)'}: use steps of 0 or more")
    records = task.train_data.input_path
    input_pipeline.check_shards(records, manifest)
    if not 1 <= images <= manifest.images:
        raise InputError(f"--images {images}: {records} holds {manifest.images}; use 1 to {manifest.images}")
    sheet = _sheet(task, manifest, _first_batch(task, manifest, images), steps)
    try:
        files.write_bytes(output, _encoded(sheet, FORMATS[suffix]))
    except OSError as error:
        raise InputError(
            f"--output {output}: can't be written: {error.strerror or error}; give another path"
        ) from error
    return sheet


def _first_batch(task: CenterNetTask, manifest: Manifest, images: int) -> tuple[tf.Tensor, Labels]:
    reading = task.train_data.replace(global_batch_size=images)
    dataset = input_pipeline.train_dataset(reading, manifest, crowd_is_object=task.losses.crowd_is_object)
    try:
        ((image, labels),) = dataset.take(1)
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        reason = " ".join(error.message.split())[:160]
        raise InputError(f"{reading.input_path}: damaged inside a shard ({reason}); make the records again") from error
    return image, labels


def _sheet(
    task: CenterNetTask, manifest: Manifest, batch: tuple[tf.Tensor, Labels], steps: tuple[int, ...]
) -> np.ndarray:
    map_size = task.model.input_size[0] // STRIDE, task.model.input_size[1] // STRIDE
    # The reference's class indices have gaps: 90 channels for 80 categories.
    known = {category.index: category.name for category in manifest.categories}
    names = [known.get(index, "") for index in range(manifest.num_classes)]
    columns = [_column("stored", *batch, map_size, names)]
    for step in steps:
        image, labels = augmentation.augment(
            *batch, task.augmentation, task.train_data.seed, tf.constant(step, tf.int64), map_size[1]
        )
        columns.append(_column(f"step {step}", image, labels, map_size, names))
    return np.concatenate(columns, axis=1)


def _column(title: str, image: tf.Tensor, labels: Labels, map_size: tuple[int, int], names: list[str]) -> np.ndarray:
    """Every image of a batch below a title: first with its boxes, then darkened with its heatmap."""
    pixels = np.rint(image.numpy()).astype(np.uint8)
    # Drawn from what the losses read, not from the original boxes, so that a wrong target shows.
    dense = heatmap.dense_heatmap(labels, map_size, len(names)).numpy().max(axis=-1).reshape(-1, *map_size)
    parts = [_title(title, pixels.shape[2])]
    for row, picture in enumerate(pixels):
        boxes, classes = _boxes(labels, row, map_size[1])
        drawn = draw_detections(picture, boxes, [names[c] for c in classes], colour=TRUTH_COLOUR)
        heat = np.kron(dense[row], np.ones((STRIDE, STRIDE)))[..., None]
        glowing = np.clip(0.5 * picture * (1.0 - heat) + HEAT * heat, 0, 255).astype(np.uint8)
        parts += [drawn, glowing]
    return np.concatenate([np.pad(p, [(0, GAP), (0, GAP), (0, 0)], constant_values=PAPER) for p in parts])


def _boxes(labels: Labels, row: int, map_width: int) -> tuple[np.ndarray, np.ndarray]:
    """(float [N, 4] in input pixels, class indices [N]) of the objects of one image, from its targets."""
    present = labels.object_mask.numpy()[row] > 0
    cell = labels.object_cell.numpy()[row][present]
    centre = np.stack([cell // map_width, cell % map_width], axis=1) + labels.object_offset.numpy()[row][present]
    half = labels.object_size.numpy()[row][present] / 2.0
    boxes = STRIDE * np.concatenate([centre - half, centre + half], axis=1)
    return boxes, labels.object_class.numpy()[row][present]


def _title(text: str, width: int) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (width, 20), (PAPER,) * 3)
    ImageDraw.Draw(picture).text((2, 2), text, fill=(0, 0, 0), font=ImageFont.load_default(size=14))
    return np.asarray(picture)


def _encoded(picture: np.ndarray, kind: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, quality=92)
    return buffer.getvalue()
