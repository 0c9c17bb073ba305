"""The benchmark of growth, on tiny data."""

from pathlib import Path

import pytest

from benchmarks import growth
from benchmarks.growth import Size


def test_one_number_changes_at_a_time() -> None:
    found = [(size.images, size.classes, size.objects) for size in growth.sizes([10, 20], [3, 4], [1, 2])]
    assert found == [(10, 3, 1), (20, 3, 1), (10, 4, 1), (10, 3, 2)]


@pytest.mark.parametrize(
    "stages",
    [
        [stage for stage in growth.STAGES if stage != "export"],
        pytest.param(["export"], marks=pytest.mark.slow),  # builds and traces the demo's network
    ],
    ids=["cheap", "export"],
)
def test_every_stage_is_measured_at_every_size(stages: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert growth.main(["--images", "8", "--classes", "2", "--objects", "2", "--only", *stages]) == 0
    head, _, row = capsys.readouterr().out.splitlines()
    assert head.count("CPU s") == len(stages)
    images, classes, objects, *measured = row.strip("| ").split(" | ")
    assert (images, classes, objects) == ("8", "2", "2")
    memory = [int(cell) for cell in measured[1::2]]
    assert len(memory) == len(stages)
    assert min(memory) > 10


def test_a_stage_that_fails_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = Size(images=4, classes=2, objects=1)
    with pytest.raises(growth.Failure, match=r"^check, Size\(images=4"):
        growth._measure("check", tmp_path, size)
