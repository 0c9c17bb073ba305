"""Which training images are held out and monitored, and that no epoch of any view ever has one that is held out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.manifest import Manifest, Shard
from beam_preprocess.format.records import IMAGE_ID
from tests.trainer.made_records import write_records
from trainer.config.experiment import RecordsConfig
from trainer.data import holdout, input_pipeline
from trainer.data.holdout import Holdout

IMAGES, VIEWS, BATCH = 23, 3, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of 5, 5, 5, 4 and 4 images."""
    path = tmp_path_factory.mktemp("records")
    write_records(path, IMAGES, VIEWS, shards=5)
    return path


@pytest.fixture(scope="module")
def manifest(folder: Path) -> Manifest:
    return input_pipeline.load_manifest(str(folder))


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        (0.0, Holdout(held_out=0, monitored=IMAGES)),
        (0.05, Holdout(held_out=1, monitored=1)),
        (0.1, Holdout(held_out=2, monitored=2)),
        (0.5, Holdout(held_out=11, monitored=11)),
    ],
)
def test_the_choice_has_the_asked_number_of_images(manifest: Manifest, fraction: float, expected: Holdout) -> None:
    found = holdout.choose(manifest, fraction, "records")
    assert found == expected
    counts = holdout.first_records(manifest, found.held_out)
    assert sum(counts) == found.held_out
    assert all(0 <= count <= records for count, records in zip(counts, (5, 5, 5, 4, 4), strict=True))


def test_without_a_hold_out_64_images_are_followed(manifest: Manifest) -> None:
    assert holdout.choose(replace(manifest, images=1000), 0.0, "records") == Holdout(monitored=64)


@pytest.mark.parametrize(("images", "fraction", "held_out"), [(100, 0.29, 29), (118_287, 0.01, 1182), (10, 0.3, 3)])
def test_decimal_fractions_are_meant_as_written(
    manifest: Manifest, images: int, fraction: float, held_out: int
) -> None:
    assert holdout.choose(replace(manifest, images=images), fraction, "records").held_out == held_out


def test_less_than_one_image_is_refused(manifest: Manifest) -> None:
    with pytest.raises(InputError, match=r"holdout_fraction: 0.04 of the 23 images in here is less than one"):
        holdout.choose(manifest, 0.04, "here")


def test_views_that_hold_other_images_are_refused(manifest: Manifest) -> None:
    """With other counts, the first records of a shard would be other images: an image could be seen in training."""
    first, second = (shard for shard in manifest.shards if shard.view == 1 and shard.shard < 2)

    def counted(shard: Shard) -> Shard:
        return replace(shard, records=shard.records + {first.name: 1, second.name: -1}.get(shard.name, 0))

    changed = replace(manifest, shards=tuple(map(counted, manifest.shards)))
    with pytest.raises(InputError, match="different numbers of images"):
        holdout.choose(changed, 0.1, "records")


def trained_on(folder: Path, held_out: int, *, steps: int, first_step: int = 0, seed: int = 0) -> np.ndarray:
    config = RecordsConfig(input_path=str(folder), global_batch_size=BATCH, seed=seed)
    manifest = input_pipeline.load_manifest(str(folder))
    dataset = input_pipeline.train_dataset(config, manifest, held_out=held_out, first_step=first_step)
    return np.concatenate([labels.image_id.numpy() for _, labels in dataset.take(steps)])


def monitored(folder: Path, count: int) -> list[int]:
    config = RecordsConfig(input_path=str(folder), global_batch_size=BATCH, is_training=False)
    manifest = input_pipeline.load_manifest(str(folder))
    dataset = input_pipeline.validation_dataset(config, manifest, monitored=count)
    ids = [labels.image_id.numpy()[labels.image_weight.numpy() > 0] for _, labels in dataset]
    return np.concatenate(ids).tolist()


@pytest.mark.parametrize("held_out", [1, 2, 7, 11])
def test_held_out_images_are_never_trained_on_and_all_others_are(folder: Path, held_out: int) -> None:
    """Over all views, and two passes over them."""
    kept = IMAGES - held_out
    measured = monitored(folder, held_out)
    assert len(set(measured)) == len(measured) == held_out
    seen = trained_on(folder, held_out, steps=2 * VIEWS * kept // BATCH + 1)
    assert set(seen) == {1000 + i for i in range(IMAGES)} - set(measured)
    for epoch in range(2 * VIEWS):
        assert len(set(seen[epoch * kept : (epoch + 1) * kept])) == kept, "every image once per epoch"


def test_another_seed_holds_out_the_same_images(folder: Path) -> None:
    one, other = (trained_on(folder, 5, steps=9, seed=seed) for seed in (0, 1))
    assert set(one) == set(other)
    assert one.tolist() != other.tolist()


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> np.ndarray:
    return trained_on(folder, 5, steps=20)


@pytest.mark.parametrize("first_step", [1, 4, 5, 13])
def test_a_resumed_run_reads_on_where_it_stopped(folder: Path, undisturbed: np.ndarray, first_step: int) -> None:
    resumed = trained_on(folder, 5, steps=20 - first_step, first_step=first_step)
    assert resumed.tolist() == undisturbed[first_step * BATCH :].tolist()


def test_without_a_hold_out_the_order_is_the_one_of_before(folder: Path) -> None:
    """A training of earlier code resumes, and the golden losses stay."""
    config = RecordsConfig(input_path=str(folder), global_batch_size=BATCH)
    names = [sorted(str(path) for path in folder.glob(f"train-v{view:02d}-*")) for view in range(VIEWS)]
    files = tf.data.Dataset.from_tensor_slices(names[0]).shuffle(5, seed=0)
    records = files.interleave(tf.data.TFRecordDataset, cycle_length=5)
    serialized = [record.numpy() for record in records.shuffle(IMAGES, seed=0)]
    ids = [tf.train.Example.FromString(r).features.feature[IMAGE_ID].int64_list.value[0] for r in serialized]
    manifest = input_pipeline.load_manifest(str(folder))
    read: list[int] = []
    for _, labels in input_pipeline.train_dataset(config, manifest).take(-(-IMAGES // BATCH)):
        read += labels.image_id.numpy().tolist()
    assert read[:IMAGES] == ids


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_the_images_that_are_followed(folder: Path, workers: int) -> None:
    config = RecordsConfig(input_path=str(folder), global_batch_size=BATCH, is_training=False)
    manifest = input_pipeline.load_manifest(str(folder))
    ids: list[int] = []
    for worker in range(workers):
        context = tf.distribute.InputContext(workers, worker, num_replicas_in_sync=workers)
        for _, labels in input_pipeline.validation_dataset(config, manifest, monitored=7, context=context):
            ids += labels.image_id.numpy()[labels.image_weight.numpy() > 0].tolist()
    assert sorted(ids) == sorted(monitored(folder, 7))
