"""The two reference recipes have the published numbers, and headers with what a reader must know."""

import re

import pytest
import yaml

from trainer.config.experiment import build_experiment
from trainer.config.sections import CONFIGS, parse_config

RECIPES = {
    # batch, steps, learning rate, validation interval, strategy, precision, loss scale, published AP
    "gpu": (64, 280_000, 0.0005, 1848, "mirrored", "float16", "dynamic", "40.01"),
    "tpu": (128, 140_000, 0.001, 924, "tpu", "bfloat16", None, "40.5"),
}


def _text(kind: str) -> str:
    return (CONFIGS / f"coco-centernet-hourglass-{kind}.yaml").read_text()


def _header(kind: str) -> str:
    lines = _text(kind).splitlines()
    return "\n".join(line[1:] for line in lines[: next(i for i, s in enumerate(lines) if not s.startswith("#"))])


@pytest.mark.parametrize("kind", RECIPES)
def test_the_numbers_are_the_published_ones(kind: str) -> None:
    batch, steps, rate, interval, strategy, precision, loss_scale, _ = RECIPES[kind]
    config = parse_config(_text(kind))
    experiment = build_experiment(config)
    task, trainer, runtime = experiment.task, experiment.trainer, experiment.runtime
    schedule = trainer.optimizer_config
    assert task.train_data.global_batch_size == batch
    assert (trainer.train_steps, schedule.learning_rate.get().decay_steps) == (steps, steps)
    assert (schedule.learning_rate.type, schedule.learning_rate.get().initial_learning_rate) == ("cosine", rate)
    assert (schedule.warmup.type, schedule.warmup.get().warmup_steps) == ("linear", 2000)
    assert (schedule.optimizer.type, schedule.optimizer.get().epsilon) == ("adam", 1e-7)
    assert trainer.validation_interval == interval
    assert (runtime.distribution_strategy, runtime.mixed_precision_dtype) == (strategy, precision)
    assert runtime.loss_scale == loss_scale
    assert task.gradient_clip_norm == 10.0
    hourglass = task.model.backbone.hourglass
    assert (hourglass.model_id, hourglass.num_hourglasses) == (52, 2)
    assert (task.model.input_size, task.model.num_classes) == ([512, 512, 3], 90)
    assert (list(task.model.head.input_levels), task.model.head.heatmap_bias) == (["2_0", "2"], -2.19)
    assert task.model.norm_activation.use_sync_bn
    weights = task.losses.detection
    assert (weights.object_center_weight, weights.offset_weight, weights.scale_weight) == (1.0, 1.0, 0.1)
    assert task.augmentation.as_dict() == {
        "flip": True,
        "brightness": 0.2,
        "contrast": 0.2,
        "saturation": 0.2,
        "hue": 0.02,
    }
    made = config.preprocess
    assert (made.train_views, made.class_index, made.scale_min, made.scale_max) == (8, "id-minus-1", 0.6, 1.3)
    assert (made.crop_border, made.min_visible) == (0.2, 0.0)  # 128 of 640 pixels; whatever is left of a box


@pytest.mark.parametrize("kind", RECIPES)
def test_the_header_gives_command_hardware_and_results(kind: str) -> None:
    header = _header(kind)
    for word in ("command", "hardware", "records", "published", "not measured"):
        assert re.search(rf"\b{word}\b", header), word
    assert f"--config_file=coco-centernet-hourglass-{kind}" in header
    assert "--experiment=centernet_hourglass_coco" in header
    assert "--mode=train_and_eval" in header
    assert "--views 8" in header
    assert f"{RECIPES[kind][-1]} AP" in header
    assert "41.92" in header


@pytest.mark.parametrize("kind", RECIPES)
@pytest.mark.parametrize(
    "deviation",
    [
        r"batch norm momentum 0\.9 means 0\.9, on every layer +reference: task\.model\.reference_bn=true",
        r"crowd regions are not charged +reference: task\.losses\.crowd_is_object=true",
        r"clipped after the all-reduce",
        r"decoded in float32",
        r"5,000 of 5,000 validation images .*4,992",
        r"only boxes inside the crop are counted",
        r"padding belongs to no cell +\(there: to cell -1",
        r"the focal loss has a gradient everywhere",
        r"crops are drawn once per view",
        r"scale is drawn from the range 0\.6 to 1\.3 +\(there: from 8 steps",
        r"heatmap values below preprocess\.heatmap_cutoff are 0",
        r"brightness, contrast, saturation are factors of 0\.8-1\.2 +\(there: brightness is added",
    ],
)
def test_the_header_names_every_deviation(kind: str, deviation: str) -> None:
    assert re.search(deviation, _header(kind))


@pytest.mark.parametrize("kind", RECIPES)
def test_the_flags_that_the_header_names_exist_and_are_off(kind: str) -> None:
    values = yaml.safe_load(_text(kind))
    flags = re.findall(r"reference: (\S+)=true", _header(kind))
    assert flags == ["task.model.reference_bn", "task.losses.crowd_is_object"]
    for flag in flags:
        before = section = build_experiment(parse_config(_text(kind)))
        *parents, last = flag.split(".")
        changed = values
        for name in parents:
            section = getattr(section, name)
            changed = changed.setdefault(name, {})
        assert getattr(section, last) is False
        changed[last] = True
    after = build_experiment(parse_config(yaml.safe_dump(values)))
    assert after.task.model.reference_bn and after.task.losses.crowd_is_object
    assert before.trainer.as_dict() == after.trainer.as_dict()
