import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.targets import assign_targets, dense_heatmap
from tests.trainer.made_records import CLASSES, CUTOFF, MAP, SIZE, make_objects, write_records
from trainer.config.experiment import RecordsConfig
from trainer.data import heatmap, input_pipeline

IMAGES, VIEWS, BATCH = 10, 2, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records")
    write_records(path, IMAGES, VIEWS)
    return path


def _train(folder: Path, batches: int, *, seed: int = 0, first_step: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """[(image ids, first pixels)] of some batches."""
    config = RecordsConfig(input_path=str(folder), global_batch_size=BATCH, seed=seed)
    manifest = input_pipeline.load_manifest(str(folder))
    dataset = input_pipeline.train_dataset(config, manifest, first_step=first_step)
    return [(labels.image_id.numpy(), labels.object_cell.numpy()) for _, labels in dataset.take(batches)]


def test_an_epoch_has_every_image_once_and_the_next_one_the_next_view(folder: Path) -> None:
    batches = _train(folder, VIEWS * IMAGES // BATCH)
    ids = np.concatenate([ids for ids, _ in batches])
    first, second = ids[:IMAGES], ids[IMAGES:]
    assert sorted(first) == sorted(second) == list(range(1000, 1000 + IMAGES))
    assert list(first) != list(second)
    cells = np.concatenate([cells for _, cells in batches])
    # The views of these records hold different objects: where an image has any, its two epochs differ.
    with_objects = 1000 + 4
    assert list(cells[np.flatnonzero(first == with_objects)[0]]) != list(
        cells[IMAGES + np.flatnonzero(second == with_objects)[0]]
    )


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    return _train(folder, 9)


def test_order_is_a_function_of_the_seed(folder: Path, undisturbed: list[tuple[np.ndarray, np.ndarray]]) -> None:
    same, (again, other) = undisturbed[:5], (_train(folder, 5, seed=seed) for seed in (0, 1))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(same, again, strict=True))
    assert not all(np.array_equal(a[0], b[0]) for a, b in zip(same, other, strict=True))


@pytest.mark.parametrize("first_step", [1, 3, 6])
def test_a_resumed_run_reads_on_where_it_stopped(
    folder: Path, undisturbed: list[tuple[np.ndarray, np.ndarray]], first_step: int
) -> None:
    resumed = _train(folder, 9 - first_step, first_step=first_step)
    for expected, found in zip(undisturbed[first_step:], resumed, strict=True):
        assert np.array_equal(expected[0], found[0])
        assert np.array_equal(expected[1], found[1])


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_every_global_batch(
    folder: Path, undisturbed: list[tuple[np.ndarray, np.ndarray]], workers: int
) -> None:
    """Each worker reads by itself: together the batches of one, so an epoch has every image once in total."""
    config = RecordsConfig(input_path=str(folder), global_batch_size=BATCH)
    manifest = input_pipeline.load_manifest(str(folder))
    alone = undisturbed[: VIEWS * IMAGES // BATCH]
    shares = []
    for worker in range(workers):
        context = tf.distribute.InputContext(workers, worker, num_replicas_in_sync=workers)
        dataset = input_pipeline.train_dataset(config, manifest, context=context).take(len(alone))
        shares.append([labels.image_id.numpy() for _, labels in dataset])
    for (expected, _), *parts in zip(alone, *shares, strict=True):
        assert [len(part) for part in parts] == [BATCH // workers] * workers
        assert sorted(np.concatenate(parts)) == sorted(expected)


@pytest.mark.parametrize(("workers", "batch"), [(2, 4), (3, 6)])
def test_workers_share_the_validation_images(folder: Path, workers: int, batch: int) -> None:
    config = RecordsConfig(input_path=str(folder), global_batch_size=batch, is_training=False)
    manifest = input_pipeline.load_manifest(str(folder))
    ids, lengths = [], set()
    for worker in range(workers):
        context = tf.distribute.InputContext(workers, worker, num_replicas_in_sync=workers)
        batches = list(input_pipeline.validation_dataset(config, manifest, context=context))
        lengths.add(len(batches))
        ids += [i for _, labels in batches for i in labels.image_id.numpy()[labels.image_weight.numpy() > 0]]
    assert sorted(ids) == list(range(1000, 1000 + IMAGES))
    assert len(lengths) == 1, "a worker with fewer batches would leave the others waiting for ever"


@pytest.mark.parametrize(("replicas", "batch"), [(1, 4), (2, 4), (2, 16), (3, 6), (3, 12)])
def test_validation_has_every_image_exactly_once_in_full_batches(folder: Path, replicas: int, batch: int) -> None:
    """Model Garden crashes on a last batch that leaves a replica without images."""
    config = RecordsConfig(input_path=str(folder), global_batch_size=batch, is_training=False)
    context = tf.distribute.InputContext(num_replicas_in_sync=replicas)
    dataset = input_pipeline.validation_dataset(config, input_pipeline.load_manifest(str(folder)), context=context)
    ids, sizes = [], []
    for image, labels in dataset:
        sizes.append(image.shape[0])
        real = labels.image_weight.numpy() > 0
        assert not labels.object_mask.numpy()[~real].any()
        ids += list(labels.image_id.numpy()[real])
    assert sorted(ids) == list(range(1000, 1000 + IMAGES))
    assert set(sizes) == {batch // replicas}
    assert sum(sizes) % batch == 0


def test_parsed_targets_are_the_stored_ones(folder: Path) -> None:
    config = RecordsConfig(input_path=str(folder), global_batch_size=BATCH)
    manifest = input_pipeline.load_manifest(str(folder))
    dataset = input_pipeline.train_dataset(config, manifest)
    for image, labels in dataset.take(IMAGES // BATCH):
        assert image.shape == (BATCH, *SIZE, 3)
        assert image.dtype == tf.uint8
        dense = heatmap.dense_heatmap(labels, MAP, CLASSES).numpy().reshape(BATCH, *MAP, CLASSES)
        for i, image_id in enumerate(labels.image_id.numpy()):
            boxes, classes = make_objects(np.random.default_rng([image_id - 1000, 0]), (image_id - 1000) % 5)
            expected = assign_targets(
                boxes, classes, np.zeros(len(boxes), bool), image_size=SIZE, stride=4, cutoff=CUTOFF
            )
            np.testing.assert_array_equal(dense[i], dense_heatmap(expected, MAP, CLASSES, CUTOFF))
            count = len(boxes)
            assert labels.object_mask.numpy()[i].sum() == count
            np.testing.assert_array_equal(labels.object_size.numpy()[i, :count], expected.object_size)
            np.testing.assert_array_equal(labels.object_offset.numpy()[i, :count], expected.object_offset)


def test_crowds_are_ignored_or_objects(tmp_path: Path) -> None:
    manifest = write_records(tmp_path, IMAGES, crowd_every=2)
    assert manifest.crowds > 0
    config = RecordsConfig(input_path=str(tmp_path), global_batch_size=IMAGES)
    found = {}
    for as_object in (False, True):
        dataset = input_pipeline.train_dataset(config, manifest, crowd_is_object=as_object)
        ((_, labels),) = dataset.take(1)
        found[as_object] = labels
    assert found[False].object_mask.numpy().sum() == manifest.objects
    assert found[False].ignore_mask.numpy().sum() == manifest.crowds
    assert found[True].object_mask.numpy().sum() == manifest.objects + manifest.crowds
    assert found[True].ignore_mask.shape[1] == 0
    assert (found[True].cell_value.numpy() > 0).sum() > (found[False].cell_value.numpy() > 0).sum()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no manifest.json"),  # the ready marker is missing
        ("{", "not JSON"),  # torn
        ('{"schema_version": 99}', "schema_version is 99"),  # another schema
    ],
)
def test_a_folder_that_is_not_ready(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=message):
        input_pipeline.load_manifest(str(tmp_path))


def test_records_without_an_image_are_refused(folder: Path) -> None:
    manifest = input_pipeline.load_manifest(str(folder))
    with pytest.raises(InputError, match="holds no image"):
        input_pipeline.check_shards(str(folder), dataclasses.replace(manifest, images=0, shards=()))
