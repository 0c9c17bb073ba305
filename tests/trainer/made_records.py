"""Small synthetic records, written without Beam: random blocks of colour, one colour per class."""

import hashlib
import struct
from pathlib import Path

import google_crc32c
import numpy as np
import simplejpeg

from beam_preprocess.format import geometry, records, targets
from beam_preprocess.format.manifest import NAME, Category, Manifest, Shard

SIZE = (32, 64)
MAP = (8, 16)
CUTOFF = 1e-3
CLASSES = 3
CODES = len(targets.code_table(MAP, CUTOFF).values)


def make_objects(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(boxes float [N, 4] in input pixels, classes int [N])."""
    low = rng.uniform(0, (SIZE[0] - 12, SIZE[1] - 12), (count, 2))
    high = np.minimum(low + rng.uniform(6, 24, (count, 2)), SIZE)
    return np.concatenate([low, high], axis=1), rng.integers(0, CLASSES, count)


def make_record(image_id: int, view: int, boxes: np.ndarray, classes: np.ndarray, crowd: np.ndarray) -> records.Record:
    """A record of the plain view of an image that has the input size."""
    image = np.full((*SIZE, 3), 40 + image_id % 100, np.uint8)
    for box, index in zip(boxes, classes, strict=True):
        ymin, xmin, ymax, xmax = (int(v) for v in box)
        image[ymin:ymax, xmin:xmax] = 50
        image[ymin:ymax, xmin:xmax, index] = 230
    return records.Record(
        image=simplejpeg.encode_jpeg(image, quality=95, colorsubsampling="420"),
        image_id=image_id,
        image_size=SIZE,
        view_number=view,
        view=geometry.letterbox(SIZE, SIZE),
        targets=targets.assign_targets(boxes, classes, crowd, image_size=SIZE, stride=4, cutoff=CUTOFF),
    )


def write_records(
    folder: Path, images: int = 10, views: int = 1, split: str = "train", shards: int = 2, crowd_every: int = 0
) -> Manifest:
    """Writes shards and manifest; image i has i % 5 objects, and every `crowd_every`-th image a crowd region."""
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[tuple[int, int], list[records.Record]] = {(s, v): [] for s in range(shards) for v in range(views)}
    for i in range(images):
        for view in range(views):
            rng = np.random.default_rng([i, view])
            boxes, classes = make_objects(rng, i % 5)
            crowd = np.zeros(len(boxes), bool)
            if crowd_every and i % crowd_every == 0 and len(boxes):
                crowd[0] = True
            made[i % shards, view].append(make_record(1000 + i, view, boxes, classes, crowd))
    written = []
    for (shard, view), items in made.items():
        name = f"{split}-v{view:02d}-{shard:05d}-of-{shards:05d}.tfrecord"
        content = b"".join(_frame(records.encode(r, MAP, CODES)) for r in items)
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        written.append(Shard(name=name, shard=shard, view=view, records=len(items), bytes=len(content), sha256=digest))
    everything = [r for items in made.values() for r in items]
    manifest = Manifest(
        schema_version=records.RECORD_SCHEMA_VERSION,
        split=split,
        data_digest="data",
        records_digest=f"records-{images}-{views}-{crowd_every}",
        images=images,
        views=views,
        objects=sum(int((~r.targets.object_crowd).sum()) for r in everything if r.view_number == 0),
        crowds=sum(int(r.targets.object_crowd.sum()) for r in everything if r.view_number == 0),
        num_classes=CLASSES,
        categories=tuple(Category(index=i, id=10 * (i + 1), name=f"class{i}") for i in range(CLASSES)),
        shards=tuple(written),
        max_cells=max(len(r.targets.cell_index) for r in everything),
        max_objects=max(len(r.targets.object_cell) for r in everything),
        rejects={},
        class_histogram={},
        size_histogram={},
        parameters={
            "seed": 0,
            "image_size": list(SIZE),
            "stride": 4,
            "heatmap_cutoff": CUTOFF,
            "gaussian_iou": 0.7,
            "target_variant": "model-garden",
        },
    )
    (folder / NAME).write_text(manifest.to_json())
    return manifest


def _frame(data: bytes) -> bytes:
    """TFRecord framing: length, masked crc of it, data, masked crc of it."""

    def masked(part: bytes) -> bytes:
        crc = google_crc32c.value(part)
        return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


TINY_CONFIG = """
preprocess:
  image_size: [32, 64]
  train_views: 2
task:
  model:
    backbone: {type: hourglass, hourglass: {model_id: 10, input_channel_dims: 4, num_hourglasses: 1}}
    head: {input_levels: ['2']}
    norm_activation: {norm_momentum: 0.9, use_sync_bn: false}
  train_data: {global_batch_size: 4}
trainer:
  train_steps: 6
  steps_per_loop: 2
  checkpoint_interval: 2
  optimizer_config:
    learning_rate: {type: cosine, cosine: {initial_learning_rate: 0.001, decay_steps: 6}}
    warmup: {type: linear, linear: {warmup_steps: 1}}
runtime:
  distribution_strategy: one_device
gate:
  min_ap: 0.1
"""
