"""Draws what the network is shown: real records after the augmentation on the device, on a contact sheet.

    python -m trainer.preview_augmentation --records=records/train --config_file=custom-small --output=sheet.jpg
    python -m trainer.preview_augmentation --records=records/train --config_file=custom-small --output=sheet.jpg \\
        --images=6 --steps 100 101 102 103 --params_override=task.augmentation.hue=0.1

A row is an image, with its heatmap (all classes) below it; the first column is the record as stored, and each other
one a step of the training: flip, brightness, contrast, saturation and hue are drawn from (seed, step, image), so the
sheet shows what a training with this seed draws there, on any number of replicas and also after a resume.
"""

import argparse
import io
import os
import sys

if __name__ == "__main__":
    # Before TensorFlow is imported: it speaks of missing drivers on every start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from beam_preprocess.base import files
from beam_preprocess.base.errors import InputError
from beam_preprocess.format.manifest import Manifest
from trainer.config.experiment import CenterNetTask
from trainer.config.sections import find_config
from trainer.data import augmentation, heatmap, input_pipeline
from trainer.data.heatmap import Labels
from trainer.model import network
from trainer.shared.draw import TRUTH_COLOUR, draw_detections
from trainer.training.run import make_experiment

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
GAP = 6
"""Pixels between two pictures."""
HEAT = np.array([255.0, 96.0, 0.0])
"""RGB of a heatmap value of 1."""
PAPER = 255


def preview(
    *,
    records: str,
    config: str,
    output: str,
    images: int = 4,
    steps: tuple[int, ...] = (0, 1, 2, 3),
    seed: int = 0,
    params_override: str = "",
) -> np.ndarray:
    """Writes the contact sheet of the first images that a training with this seed reads.

    Args:
      records: folder of training records.
      config: YAML text of the run's configuration.
      output: the picture, a path or URI that ends with .jpg or .png.
      images: rows.
      steps: global steps, one column each.
      seed: of the training.
      params_override: as for `trainer.train`.

    Returns:
      The sheet, uint8 [height, width, 3].

    Raises:
      InputError: no records there, a configuration that doesn't fit them, or bad values.
    """
    suffix = os.path.splitext(output)[1].lower()
    if suffix not in FORMATS:
        raise InputError(f"--output {output}: {suffix or 'no'} ending; use one of {', '.join(FORMATS)}")
    if min(steps, default=-1) < 0:
        raise InputError(f"--steps {' '.join(map(str, steps)) or '(none)'}: use steps of 0 or more")
    manifest = input_pipeline.load_manifest(records)
    input_pipeline.check_shards(records, manifest)
    if not 1 <= images <= manifest.images:
        raise InputError(f"--images {images}: {records} holds {manifest.images}; use 1 to {manifest.images}")
    task = make_experiment(config, params_override, manifest, records, "", seed).task
    sheet = _sheet(task, manifest, _first_batch(task, manifest, images), steps)
    try:
        files.write_bytes(output, _encoded(sheet, FORMATS[suffix]))
    except OSError as error:
        raise InputError(
            f"--output {output}: can't be written: {error.strerror or error}; give another path"
        ) from error
    print(
        f"result: {output}: {images} images, as stored and at steps {', '.join(map(str, steps))} of seed {seed}; "
        f"{_settings(task)}",
        flush=True,
    )
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
    map_size = task.model.input_size[0] // network.STRIDE, task.model.input_size[1] // network.STRIDE
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
    """Every image of a batch, under a title: with its boxes, and below it darkened with its heatmap."""
    pixels = np.rint(image.numpy()).astype(np.uint8)
    # Drawn from what the losses read, not from the boxes they were made of: a wrong target shows.
    dense = heatmap.dense_heatmap(labels, map_size, len(names)).numpy().max(axis=-1).reshape(-1, *map_size)
    parts = [_title(title, pixels.shape[2])]
    for row, picture in enumerate(pixels):
        boxes, classes = _boxes(labels, row, map_size[1])
        drawn = draw_detections(picture, boxes, [names[c] for c in classes], colour=TRUTH_COLOUR)
        heat = np.kron(dense[row], np.ones((network.STRIDE, network.STRIDE)))[..., None]
        glowing = np.clip(0.5 * picture * (1.0 - heat) + HEAT * heat, 0, 255).astype(np.uint8)
        parts += [drawn, glowing]
    return np.concatenate([np.pad(p, [(0, GAP), (0, GAP), (0, 0)], constant_values=PAPER) for p in parts])


def _boxes(labels: Labels, row: int, map_width: int) -> tuple[np.ndarray, np.ndarray]:
    """(float [N, 4] in input pixels, class indices [N]) of the objects of one image, out of its targets."""
    present = labels.object_mask.numpy()[row] > 0
    cell = labels.object_cell.numpy()[row][present]
    centre = np.stack([cell // map_width, cell % map_width], axis=1) + labels.object_offset.numpy()[row][present]
    half = labels.object_size.numpy()[row][present] / 2.0
    boxes = network.STRIDE * np.concatenate([centre - half, centre + half], axis=1)
    return boxes, labels.object_class.numpy()[row][present]


def _title(text: str, width: int) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (width, 20), (PAPER,) * 3)
    ImageDraw.Draw(picture).text((2, 2), text, fill=(0, 0, 0), font=ImageFont.load_default(size=14))
    return np.asarray(picture)


def _settings(task: CenterNetTask) -> str:
    return ", ".join(f"{name} {value}" for name, value in task.augmentation.as_dict().items())


def _encoded(picture: np.ndarray, kind: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, quality=92)
    return buffer.getvalue()


def main(argv: list[str] | None = None) -> int:
    """Exit code 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.preview_augmentation",
        description="Draw records as the network is shown them.",
        epilog=__doc__.split("\n\n", 1)[1] if __doc__ else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--records", required=True, help="folder of training records (with manifest.json)")
    parser.add_argument("--config_file", required=True, help="YAML file, or the name of a shipped config")
    parser.add_argument("--output", required=True, help="the contact sheet, .jpg or .png")
    parser.add_argument("--images", type=int, default=4, help="rows (default: %(default)s)")
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 1, 2, 3], help="columns (default: 0 1 2 3)")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: %(default)s)")
    parser.add_argument("--params_override", default="", help="key=value,… or YAML, over the file's values")
    flags = parser.parse_args(argv)
    try:
        preview(
            records=flags.records,
            config=find_config(flags.config_file).read_text(),
            output=flags.output,
            images=flags.images,
            steps=tuple(flags.steps),
            seed=flags.seed,
            params_override=flags.params_override,
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
