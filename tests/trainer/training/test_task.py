"""The loss and the step, held against Model Garden's own task on the same boxes."""

import copy
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.projects.centernet.configs import centernet as shipped_config
from official.projects.centernet.tasks.centernet import CenterNetTask as ShippedTask

from tests.trainer.made_records import CLASSES, SIZE, TINY_CONFIG, make_objects, write_records
from trainer.config.experiment import CenterNetTask, build_experiment
from trainer.config.sections import parse_config
from trainer.data import input_pipeline
from trainer.training.optimizer import create_slots, with_clipping
from trainer.training.task import Task

BATCH, MOST = 4, 6

# Two devices for MirroredStrategy; collection imports this file before any test starts TensorFlow's runtime.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@functools.cache
def mirrored() -> tf.distribute.MirroredStrategy:
    """Two replicas. One strategy for all tests: those of one process would take each other's collective operations."""
    devices = [device.name for device in tf.config.list_logical_devices("CPU")][:2]
    assert len(devices) == 2
    return tf.distribute.MirroredStrategy(devices)


def case_task(records: Path) -> CenterNetTask:
    """The `task:` section of the tiny configuration for these records."""
    experiment = build_experiment(parse_config(TINY_CONFIG))
    experiment.task.model.num_classes = CLASSES
    experiment.task.train_data.input_path = str(records)
    return experiment.task


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """`made_case` of records without crowds."""
    folder = tmp_path_factory.mktemp("records")
    write_records(folder, images=BATCH, shards=1)
    case = made_case(folder)
    return case | {"plain": case["task"].build_model()}


def made_case(folder: Path, crowd_is_object: bool = False) -> dict[str, Any]:
    """A batch of records, its boxes, random heads, and our task."""
    experiment = build_experiment(parse_config(TINY_CONFIG))
    experiment.task.model.num_classes = CLASSES
    experiment.task.train_data.input_path = str(folder)
    experiment.task.losses.crowd_is_object = crowd_is_object
    manifest = input_pipeline.load_manifest(str(folder))
    task = Task(experiment.task, manifest)
    image, labels = next(iter(task.build_inputs(experiment.task.train_data)))
    boxes, classes, counts = np.full((BATCH, MOST, 4), -1.0, np.float32), np.full((BATCH, MOST), -1), []
    for row, image_id in enumerate(labels.image_id.numpy()):
        b, c = make_objects(np.random.default_rng([image_id - 1000, 0]), (image_id - 1000) % 5)
        boxes[row, : len(b)], classes[row, : len(c)] = b, c
        counts.append(len(b))
    rng = np.random.default_rng(1)
    heads = {
        name: [tf.constant(rng.normal(0, 1.5, (BATCH, SIZE[0] // 4, SIZE[1] // 4, depth)), tf.float32)]
        for name, depth in (("ct_heatmaps", CLASSES), ("ct_offset", 2), ("ct_size", 2))
    }
    return {
        "task": task,
        "manifest": manifest,
        "experiment": experiment,
        "image": image,
        "labels": labels,
        "heads": heads,
        "boxes": boxes,
        "classes": classes,
        "counts": np.array(counts, np.int32),
    }


@functools.cache
def _shipped() -> Any:
    """Model Garden's losses of heads and labels, traced once for all tests."""
    config = shipped_config.CenterNetTask()
    config.model.num_classes, config.model.input_size = CLASSES, [*SIZE, 3]
    config.model.max_num_instances, config.losses.class_offset = MOST, 0
    task = ShippedTask(config)
    task._net_down_scale = 4
    return tf.function(task.build_losses)


def _shipped_labels(case: dict[str, Any], boxes: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    return {
        "boxes": tf.constant(boxes),
        "classes": tf.constant(case["classes"], tf.int32),
        "groundtruths": {"num_detections": tf.constant(counts)},
        "unpad_image_shapes": tf.constant([[*SIZE, 3]] * BATCH),
    }


def _shipped_losses(case: dict[str, Any], boxes: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    found = _shipped()(case["heads"], _shipped_labels(case, boxes, counts))
    return {name: float(value) for name, value in found.items()}


def _shipped_gradients(case: dict[str, Any], boxes: np.ndarray, counts: np.ndarray) -> dict[str, list[tf.Tensor]]:
    with tf.GradientTape() as tape:
        tape.watch(case["heads"])
        loss = _shipped()(case["heads"], _shipped_labels(case, boxes, counts))["total_loss"]
    found: dict[str, list[tf.Tensor]] = tape.gradient(loss, case["heads"])
    return found


def test_losses_are_model_gardens_where_it_is_right(case: dict[str, Any]) -> None:
    ours = case["task"].build_losses(case["heads"], case["labels"])
    # Model Garden needs boxes without its own padding of -1, which it would gather at.
    shipped = _shipped_losses(case, np.maximum(case["boxes"], 0), case["counts"])
    for name in ("scale_loss", "ct_offset_loss"):
        np.testing.assert_allclose(ours[name], shipped[name], rtol=1e-5)
    # Cells below the cut-off are not stored: 1e-3 at most.
    np.testing.assert_allclose(ours["ct_loss"], shipped["ct_loss"], rtol=1e-3)
    np.testing.assert_allclose(ours["total_loss"], shipped["total_loss"], rtol=1e-3)


def test_gradients_are_model_gardens_where_it_is_right(case: dict[str, Any]) -> None:
    """With respect to every output of the network."""
    with tf.GradientTape() as tape:
        tape.watch(case["heads"])
        loss = case["task"].build_losses(case["heads"], case["labels"])["total_loss"]
    ours = tape.gradient(loss, case["heads"])
    shipped = _shipped_gradients(case, np.maximum(case["boxes"], 0), case["counts"])
    for name in ("ct_offset", "ct_size"):
        np.testing.assert_allclose(ours[name][0], shipped[name][0], rtol=1e-5, atol=1e-8)
        assert np.abs(shipped[name][0]).max() > 0
    # A cell that isn't stored has (1 - value)^4 between 1 and 1 - 4e-3.
    np.testing.assert_allclose(ours["ct_heatmaps"][0], shipped["ct_heatmaps"][0], rtol=5e-3, atol=1e-7)


def test_crowds_as_objects_are_the_reference(tmp_path: Path) -> None:
    """`crowd_is_object` gives the losses of Model Garden, for which a crowd is one more box; else they differ."""
    manifest = write_records(tmp_path, images=BATCH, shards=1, crowd_every=1)
    assert manifest.crowds == BATCH - 1, "the first image has no object at all"
    found = {}
    for as_object in (False, True):
        case = made_case(tmp_path, crowd_is_object=as_object)
        losses = case["task"].build_losses(case["heads"], case["labels"])
        found[as_object] = {name: float(value) for name, value in losses.items()}
    shipped = _shipped_losses(case, np.maximum(case["boxes"], 0), case["counts"])
    for name in ("scale_loss", "ct_offset_loss"):
        assert found[True][name] == pytest.approx(shipped[name], rel=1e-5)
    assert found[True]["ct_loss"] == pytest.approx(shipped["ct_loss"], rel=1e-3)
    assert any(abs(found[False][name] / shipped[name] - 1) > 0.02 for name in shipped)


def test_padding_is_harmless_where_model_garden_fails(case: dict[str, Any]) -> None:
    assert (case["counts"] < MOST).any()
    with pytest.raises(tf.errors.InvalidArgumentError, match="-1"):
        _shipped_losses(case, case["boxes"], case["counts"])
    assert np.isfinite(case["task"].build_losses(case["heads"], case["labels"])["total_loss"])


def test_only_boxes_that_are_there_count(case: dict[str, Any]) -> None:
    """Model Garden counts the boxes that its crop threw away: every loss shrinks."""
    phantom = _shipped_losses(case, np.maximum(case["boxes"], 0), case["counts"] + 1)
    ours = case["task"].build_losses(case["heads"], case["labels"])
    assert phantom["ct_loss"] < 0.9 * float(ours["ct_loss"])
    assert int(tf.reduce_sum(case["labels"].object_mask)) == case["counts"].sum()


def _step(task: Task, strategy: tf.distribute.Strategy, case: dict[str, Any], norm: float) -> float:
    """Norm of the update of one plain SGD step with learning rate 1: the norm of the clipped gradient."""
    config = case["experiment"].trainer.optimizer_config
    config = with_clipping(config, norm)
    with strategy.scope():
        tf_keras.utils.set_random_seed(7)
        model = task.build_model()
        model(tf.zeros([1, *SIZE, 3]), training=False)
        optimizer = tf_keras.optimizers.legacy.SGD(1.0, global_clipnorm=config.optimizer.get().global_clipnorm)
        create_slots(optimizer, model.trainable_variables)
    before = [v.numpy() for v in model.trainable_variables]
    per_replica = BATCH // strategy.num_replicas_in_sync

    def share(context: tf.distribute.ReplicaContext | Any) -> Any:
        start = context.replica_id_in_sync_group * per_replica
        return tf.nest.map_structure(lambda t: t[start : start + per_replica], (case["image"], case["labels"]))

    inputs = strategy.experimental_distribute_values_from_function(share)
    tf.function(lambda x: strategy.run(lambda y: task.train_step(y, model, optimizer), args=(x,)))(inputs)
    after = [v.numpy() for v in model.trainable_variables]
    return float(np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(after, before, strict=True))))


@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_gradient_is_clipped_once_after_the_all_reduce(case: dict[str, Any], replicas: int) -> None:
    """Model Garden clips on every replica: with two, the update would have twice the norm."""
    strategy = mirrored() if replicas > 1 else tf.distribute.OneDeviceStrategy("CPU:0")
    assert _step(case["task"], strategy, case, 0.5) == pytest.approx(0.5, rel=1e-3)


def test_two_replicas_have_the_loss_of_the_global_batch(case: dict[str, Any]) -> None:
    """Objects are unevenly spread over the replicas; the normaliser is the global count all the same."""
    whole = float(case["task"].build_losses(case["heads"], case["labels"])["total_loss"])
    strategy = mirrored()

    def share(context: Any) -> Any:
        start = context.replica_id_in_sync_group * 2
        return tf.nest.map_structure(lambda t: t[start : start + 2], (case["heads"], case["labels"]))

    inputs = strategy.experimental_distribute_values_from_function(share)
    parts = tf.function(
        lambda x: strategy.run(lambda y: case["task"].build_losses(y[0], y[1])["total_loss"], args=(x,))
    )(inputs)
    assert float(strategy.reduce("SUM", parts, axis=None)) == pytest.approx(whole, rel=1e-5)


@pytest.mark.slow
def test_the_compiled_step_has_the_same_loss(case: dict[str, Any]) -> None:
    """Model Garden's fails: nearest upsampling has no gradient kernel there."""
    task = copy.copy(case["task"])
    # XLA draws other random numbers than TensorFlow's kernels.
    task._task_config = case["experiment"].task.replace(
        augmentation={"flip": False, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    )
    losses = []
    for compiled in (False, True):
        tf_keras.utils.set_random_seed(7)
        model = task.build_model()
        optimizer = tf_keras.optimizers.legacy.SGD(0.0)
        create_slots(optimizer, model.trainable_variables)
        step = tf.function(
            lambda x, m=model, o=optimizer, c=compiled: task.train_step(x, m, o, compiled=c)[task.loss],
            jit_compile=compiled,
        )
        losses.append(float(step((case["image"], case["labels"]))))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_whole_step_compiles_without_a_dynamic_shape(case: dict[str, Any]) -> None:
    """Augmentation, targets, losses, gradient, clipping and Adam: one program, whatever is in a batch."""
    experiment = case["experiment"]
    task = Task(experiment.task, case["manifest"], step=tf.Variable(3, dtype=tf.int64))
    tf_keras.utils.set_random_seed(7)
    model = task.build_model()
    config = with_clipping(experiment.trainer.optimizer_config, experiment.task.gradient_clip_norm)
    optimizer = task.create_optimizer(config, experiment.runtime)
    create_slots(optimizer, model.trainable_variables)
    step = tf.function(lambda x: task.train_step(x, model, optimizer, compiled=True)[task.loss], jit_compile=True)
    before = [v.numpy() for v in model.trainable_variables]
    inputs = (case["image"], case["labels"])
    assert all(np.isfinite([float(step(inputs)) for _ in range(3)]))  # the warm-up's first rate is 0
    assert any((a != v.numpy()).any() for a, v in zip(before, model.trainable_variables, strict=True))
    assert step.experimental_get_tracing_count() == 1
    program = step.experimental_get_compiler_ir(inputs)(stage="hlo")
    assert "convolution(" in program
    assert "[<=" not in program, "a dimension that is only bounded"
    assert "custom-call" not in program


def test_two_replicas_are_shown_what_one_device_is(case: dict[str, Any]) -> None:
    """A draw belongs to its image: no two on different replicas share one, and their number changes none."""
    from trainer.data.augmentation import augment

    config, step = case["experiment"].task.augmentation, tf.constant(5, tf.int64)
    picture = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3)).astype(np.uint8)
    labels = case["labels"]._replace(valid=tf.constant([[0, 0, *SIZE]] * BATCH))
    same = tf.repeat(picture, BATCH, axis=0), labels
    alone = augment(*same, config, 0, step, SIZE[1] // 4)[0].numpy()
    for one in range(BATCH):
        for other in range(one):
            assert np.abs(alone[one] - alone[other]).max() > 1, "one picture, two ids: two draws"
    strategy = mirrored()

    def share(context: Any) -> Any:
        start = context.replica_id_in_sync_group * 2
        return tf.nest.map_structure(lambda t: t[start : start + 2], same)

    inputs = strategy.experimental_distribute_values_from_function(share)
    shown = tf.function(lambda x: strategy.run(lambda y: augment(*y, config, 0, step, SIZE[1] // 4)[0], args=(x,)))(
        inputs
    )
    np.testing.assert_allclose(np.concatenate([v.numpy() for v in shown.values]), alone, atol=1e-3)


def test_a_resumed_run_is_shown_what_an_undisturbed_one_is_and_nothing_again(records_folder: Path) -> None:
    """Model Garden's input starts over, with the same draws."""
    from trainer.data.augmentation import augment

    task, manifest = case_task(records_folder), input_pipeline.load_manifest(str(records_folder))

    def shown(first_step: int, steps: int) -> list[tuple[np.ndarray, np.ndarray]]:
        reader = Task(task, manifest, first_step)
        pictures = []
        for number, (image, labels) in enumerate(reader.build_inputs(task.train_data).take(steps), first_step):
            seen, labels = augment(image, labels, task.augmentation, 0, tf.constant(number, tf.int64), SIZE[1] // 4)
            pictures.append((labels.image_id.numpy(), seen.numpy()))
        return pictures

    whole, resumed = shown(0, 10), shown(6, 4)
    for (ids, pictures), (again, others) in zip(whole[6:], resumed, strict=True):
        np.testing.assert_array_equal(ids, again)
        np.testing.assert_array_equal(pictures, others)
    # Views 0 and 1 take turns: steps 0 to 2 and 5 to 7 hold the same pictures.
    earlier = [(i, p) for ids, pictures in whole[:6] for i, p in zip(ids, pictures, strict=True)]
    later = [(i, p) for ids, pictures in resumed for i, p in zip(ids, pictures, strict=True)]
    pairs = [(p, q) for i, p in later for j, q in earlier if i == j]
    assert pairs
    assert not any((p == q).all() for p, q in pairs)


def test_augmentation_repeats_after_a_resume_and_varies_by_step(case: dict[str, Any]) -> None:
    from trainer.data.augmentation import augment

    config = case["experiment"].task.augmentation
    draw = [
        augment(case["image"], case["labels"], config, seed, tf.constant(step, tf.int64), SIZE[1] // 4)[0].numpy()
        for seed, step in ((0, 5), (0, 5), (0, 6), (1, 5))
    ]
    np.testing.assert_array_equal(draw[0], draw[1])
    assert np.abs(draw[0] - draw[2]).max() > 1
    assert np.abs(draw[0] - draw[3]).max() > 1


def test_jitter_leaves_the_padding_black(case: dict[str, Any]) -> None:
    from trainer.data.augmentation import augment

    labels = case["labels"]._replace(valid=tf.constant([[0, 0, 20, 40]] * BATCH))
    config = case["experiment"].task.augmentation
    image, labels = augment(case["image"], labels, config, 0, tf.constant(1, tf.int64), SIZE[1] // 4)
    for picture, (ymin, xmin, ymax, xmax) in zip(image.numpy(), labels.valid.numpy(), strict=True):
        inside = picture[ymin:ymax, xmin:xmax].copy()
        picture[ymin:ymax, xmin:xmax] = 0
        assert not picture.any()
        assert inside.any()


def test_input_pipeline_and_task_agree_on_the_input(case: dict[str, Any]) -> None:
    assert case["image"].dtype == tf.uint8
    assert case["image"].shape == (BATCH, *SIZE, 3)


@pytest.mark.parametrize(("replicas", "synchronised"), [(1, False), (2, True)])
def test_batch_norm_is_synchronised_between_replicas_only(
    case: dict[str, Any], replicas: int, synchronised: bool
) -> None:
    """With the same variables, so that a checkpoint of one reads into the other."""
    config = copy.deepcopy(case["task"].task_config)
    config.model.norm_activation.use_sync_bn = True
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]) if replicas > 1 else tf.distribute.get_strategy()
    with strategy.scope():
        model = Task(config, None).build_model()
    norms = [m for m in model.submodules if isinstance(m, tf_keras.layers.BatchNormalization)]
    assert {norm.synchronized for norm in norms} == {synchronised}
    plain = case["plain"]
    assert [v.shape for v in model.variables] == [v.shape for v in plain.variables]
