"""Estimates of disk and time before a run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from beam_preprocess.job.pipeline import preprocess
from pipeline.preflight.data import LocalData, check_data
from pipeline.preflight.estimates import Estimate, check_space, duration, estimate, size
from tests.cases.made_cases import make
from trainer.config.sections import parse_config

TEXT = """
preprocess: {image_size: [64, 64], train_views: 3}
task:
  model: {backbone: {type: hourglass, hourglass: {model_id: 20, input_channel_dims: 24, num_hourglasses: 1}}}
  train_data: {global_batch_size: 4}
trainer: {train_steps: 1000, checkpoint_interval: 100}
"""
CONFIG = parse_config(TEXT)


@pytest.fixture
def data(tmp_path: Path) -> LocalData:
    return check_data(make(tmp_path).write().data(), CONFIG.preprocess)


def test_records_are_as_large_as_estimated(data: LocalData, tmp_path: Path) -> None:
    made = 0
    for split, views in (("train", 3), ("val", 1)):
        manifest = preprocess(
            images=data.folders[split],
            annotations=data.parsed[split].uri,
            split=split,  # type: ignore[arg-type]
            output=str(tmp_path / "records" / split),
            config=CONFIG.preprocess,
        )
        assert manifest.views == views
        made += sum(shard.bytes for shard in manifest.shards)
    found = estimate(data, CONFIG, tmp_path)
    assert found.record_bytes == pytest.approx(made, rel=0.15)
    assert found.checkpoint_bytes == pytest.approx(845_359 * 4 * 3 * 5, rel=0.03)
    assert found.preprocess_seconds > 0


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        ("trainer: {train_steps: 1000, checkpoint_interval: 100, max_to_keep: 2}", 2 / 5),
        ("trainer: {train_steps: 100, checkpoint_interval: 100}", 1 / 5),
        (
            "trainer: {train_steps: 1000, checkpoint_interval: 100, optimizer_config: {ema: {average_decay: 0.9}}}",
            4 / 3,
        ),
    ],
)
def test_checkpoints_follow_the_configuration(change: str, factor: float, data: LocalData, tmp_path: Path) -> None:
    other = parse_config("\n".join([*(line for line in TEXT.splitlines() if "trainer" not in line), change]))
    before, after = (estimate(data, config, tmp_path).checkpoint_bytes for config in (CONFIG, other))
    assert after == pytest.approx(before * factor, rel=0.01)


def earlier_run(runs: Path, text: str, speeds: list[float]) -> None:
    (runs / "20260101-000000" / "checkpoint").mkdir(parents=True)
    (runs / "20260101-000000" / "config.yaml").write_text(text)
    rows = [{"step": i, "images_per_second": speed} for i, speed in enumerate(speeds)]
    history = runs / "20260101-000000" / "checkpoint" / "history.jsonl"
    history.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (TEXT, 400.0),
        (TEXT.replace("train_steps: 1000", "train_steps: 7"), 400.0),  # the steps do the same work
        (TEXT.replace("model_id: 20", "model_id: 52"), None),
        (TEXT.replace("[64, 64]", "[128, 64]"), None),
        ("not a mapping", None),
    ],
)
def test_time_is_that_of_an_earlier_run_or_unknown(
    text: str, seconds: float | None, data: LocalData, tmp_path: Path
) -> None:
    earlier_run(tmp_path / "runs", text, [5.0, 15.0])
    found = estimate(data, CONFIG, tmp_path / "runs")
    assert found.train_seconds == seconds
    assert ("training unknown" in found.line()) == (seconds is None)


def test_a_disk_that_is_too_small_is_an_error(data: LocalData, tmp_path: Path) -> None:
    found = estimate(data, CONFIG, tmp_path)
    check_space(found, tmp_path)
    small: Estimate = replace(found, free_bytes=found.needed_bytes - 1)
    with pytest.raises(InputError, match=r"--runs-dir .*: the disk has .* free, and the run needs about"):
        check_space(small, tmp_path)


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1234, "1.23 kB"), (45e9, "45 GB"), (3.2e12, "3.2 TB")])
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.1, "1 s"), (80, "80 s"), (600, "10 min"), (86400, "24.0 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
