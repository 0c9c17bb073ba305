"""From a folder of records to batches; `parsing` has what is done to a record.

An epoch is one pass over the images: epoch e reads view e mod K. The order is a function of (seed, epoch),
so a resumed run skips to its step instead of replaying the epochs before it.
"""

import hashlib
import os
import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import google_crc32c
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from beam_preprocess.format import manifest as manifest_lib
from beam_preprocess.format.manifest import Manifest, Shard
from trainer.config.experiment import RecordsConfig
from trainer.data.holdout import first_records
from trainer.data.parsing import RecordParser

HASHED_BYTES = 256 << 20
"""Records up to this size are compared with their sha256 before training: less than 2 s of CPU time. COCO's 20 GB would
take minutes on every start."""
_LISTED = 3
_PARALLEL = 32
"""Parallel requests: a bucket answers each in about 50 ms, and COCO × 8 views has hundreds of shards."""


def load_manifest(folder: str) -> Manifest:
    """Reads a folder's manifest.json.

    Raises:
      InputError: there is none (the folder isn't ready), it can't be read, or it was changed after it was written.
    """
    path = os.path.join(folder, manifest_lib.NAME)
    if not folder or not tf.io.gfile.exists(path):
        raise InputError(f"{folder or '(empty path)'}: no {manifest_lib.NAME}; make the records with beam_preprocess")
    try:
        with tf.io.gfile.GFile(path) as file:
            text = file.read()
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({reason:.200}); run the preprocessing again") from error
    return Manifest.from_json(text, path)


def check_shards(folder: str, manifest: Manifest) -> None:
    """Finds missing, empty, truncated and foreign shards before the first step, with one stat and 12 bytes of each.

    Small records are read once to compare their sha256. In larger ones, damage inside a shard of the right size is
    found when the shard is read: every record has a checksum.

    Raises:
      InputError: names the shards; or the manifest contradicts itself.
    """
    if manifest.images < 1:
        raise InputError(f"{folder}: holds no images; make the records again, from data that has some")
    counts = Counter[int]()
    for shard in manifest.shards:
        counts[shard.view] += shard.records
    if counts != Counter(dict.fromkeys(range(manifest.views), manifest.images)):
        raise InputError(
            f"{folder}: its {manifest_lib.NAME} counts {manifest.images} images, but its shards hold "
            f"{dict(sorted(counts.items()))} records by view; run the preprocessing again"
        )
    hashed = sum(shard.bytes for shard in manifest.shards) <= HASHED_BYTES
    with ThreadPoolExecutor(_PARALLEL) as pool:
        found = list(pool.map(lambda shard: _damage(folder, shard, hashed=hashed), manifest.shards))
    broken = [reason for reason in found if reason]
    if broken:
        more = f" and {len(broken) - _LISTED} more" if len(broken) > _LISTED else ""
        raise InputError(
            f"{folder}: {'; '.join(broken[:_LISTED])}{more}; run the preprocessing again, or copy it again"
        )


def _damage(folder: str, shard: Shard, *, hashed: bool) -> str:
    """What is wrong with a shard; empty if nothing is. `hashed` also compares its sha256."""
    path = os.path.join(folder, shard.name)
    try:
        size = tf.io.gfile.stat(path).length
    except tf.errors.NotFoundError:
        return f"{shard.name} is missing"
    if size != shard.bytes:
        return f"{shard.name} {'is empty' if not size else f'has {size} bytes'}, but its manifest lists {shard.bytes}"
    if not size:
        return ""  # no image fell into it, which the counts above allow
    with tf.io.gfile.GFile(path, "rb") as file:
        head = file.read(12)
    # TFRecord: length of the first record (uint64) and its masked CRC-32C.
    length, masked = struct.unpack("<QI", head) if len(head) == 12 else (size, 0)
    crc = google_crc32c.value(head[:8])
    if masked != (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF or length + 16 > size:
        return f"{shard.name} is not a TFRecord file"
    if hashed and _sha256(path) != shard.sha256:
        return f"{shard.name} has another sha256 than its manifest lists"
    return ""


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def train_dataset(
    config: RecordsConfig,
    manifest: Manifest,
    *,
    crowd_is_object: bool = False,
    first_step: int = 0,
    held_out: int = 0,
    context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Endless training batches from `first_step`: (uint8 [B, H, W, 3], Labels).

    Batches run across epochs, so every epoch has every image that isn't held out.

    Args:
      config: folder, global batch size, seed.
      manifest: of that folder.
      crowd_is_object: see `experiment.Losses`.
      first_step: global step to start at.
      held_out: number of images that are left out of every epoch, see `holdout`.
      context: which of several input pipelines this is; each reads its own share of every global batch.
    """
    pipelines = context.num_input_pipelines if context else 1
    batch = context.get_per_replica_batch_size(config.global_batch_size) if context else config.global_batch_size
    images = manifest.images - held_out
    epoch, skip = divmod(first_step * config.global_batch_size, images)
    leading = tf.constant(first_records(manifest, held_out), tf.int64)

    @tf.autograph.experimental.do_not_convert
    def read_file(name: tf.Tensor, skipped: tf.Tensor) -> tf.data.Dataset:
        records_of_file = tf.data.TFRecordDataset(name)
        return records_of_file.skip(skipped) if held_out else records_of_file

    @tf.autograph.experimental.do_not_convert
    def read_epoch(number: tf.Tensor) -> tf.data.Dataset:
        view = tf.cast(number % manifest.views, tf.int32)
        names = tf.gather(tf.constant(_shard_names(config, manifest)), view)
        # One shuffle seed per (seed, epoch); the multiplier separates runs with neighbouring seeds.
        seed = tf.cast(config.seed, tf.int64) * 1_000_003 + number
        files = tf.data.Dataset.from_tensor_slices((names, leading)).shuffle(len(leading), seed=seed)
        return (
            # Several files at once, because a bucket answers slowly; the order doesn't depend on timing.
            files.interleave(
                read_file,
                cycle_length=min(16, len(leading)),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            .apply(tf.data.experimental.assert_cardinality(images))
            .shuffle(min(config.shuffle_buffer_size, images), seed=seed)
        )

    dataset = tf.data.Dataset.counter(start=epoch, dtype=tf.int64).flat_map(read_epoch).skip(skip)
    if context and pipelines > 1:
        dataset = dataset.shard(pipelines, context.input_pipeline_id)
    parser = RecordParser(manifest, crowd_is_object=crowd_is_object)
    dataset = dataset.map(parser.record, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.batch(batch, drop_remainder=True).map(parser.batch).prefetch(tf.data.AUTOTUNE)


def validation_dataset(
    config: RecordsConfig,
    manifest: Manifest,
    *,
    crowd_is_object: bool = False,
    monitored: int | None = None,
    context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Every image of view 0 exactly once, filled up to whole global batches with images of weight 0.

    Without these a replica could get an empty last batch, at which Model Garden crashes.

    Args:
      config: folder and global batch size.
      manifest: of that folder.
      crowd_is_object: see `experiment.Losses`.
      monitored: only this many images, the first of every shard, see `holdout`; None reads all.
      context: which of several input pipelines this is.
    """
    images = manifest.images if monitored is None else monitored
    names = _shard_names(config, manifest)[0]
    counts = tf.constant(first_records(manifest, images), tf.int64)
    batch = context.get_per_replica_batch_size(config.global_batch_size) if context else config.global_batch_size
    dataset = (
        tf.data.Dataset.from_tensor_slices((names, counts))
        .flat_map(lambda name, count: tf.data.TFRecordDataset(name).take(count))
        .apply(tf.data.experimental.assert_cardinality(images))
    )
    parser = RecordParser(manifest, crowd_is_object=crowd_is_object)
    dataset = dataset.map(parser.record, num_parallel_calls=tf.data.AUTOTUNE)
    nothing = tf.nest.map_structure(lambda spec: tf.zeros([1, *spec.shape], spec.dtype), dataset.element_spec)
    filling = tf.data.Dataset.from_tensor_slices(nothing).repeat(-images % config.global_batch_size)
    dataset = dataset.concatenate(filling)
    if context and context.num_input_pipelines > 1:
        dataset = dataset.shard(context.num_input_pipelines, context.input_pipeline_id)
    return dataset.batch(batch, drop_remainder=True).map(parser.batch).prefetch(tf.data.AUTOTUNE)


def _shard_names(config: RecordsConfig, manifest: Manifest) -> list[list[str]]:
    """For each view, its files in shard order."""
    ordered = sorted(manifest.shards, key=lambda s: s.shard)
    return [
        [os.path.join(config.input_path, s.name) for s in ordered if s.view == view] for view in range(manifest.views)
    ]
