"""The rows of the report's tables."""

from dataclasses import replace

import pytest

from tests.trainer.made_decision import NONE
from tests.trainer.made_report import Run, analysis
from trainer.coco.analysis import Confusion
from trainer.promotion.serving import recommend
from trainer.promotion.summary import Summary
from trainer.report.tables import MATRIX_CLASSES, SIZE_METRICS, class_error_rows, matrix, metric_rows, split_facts


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    run = Run(tmp_path_factory.mktemp("run"))
    return run.summary(run.good, NONE)


def test_sizes_have_the_counts_that_ap_covers(summary: Summary) -> None:
    rows = metric_rows(summary, SIZE_METRICS, {"small": 97, "medium": 63, "large": 0})
    assert [(row["label"], row["objects"]) for row in rows] == [("AP small", 97), ("AP medium", 63), ("AP large", 0)]
    assert [row["objects"] for row in metric_rows(summary, SIZE_METRICS)] == [None] * 3, "without an analysis"


def test_confusion_matrix(summary: Summary) -> None:
    made = matrix(analysis(), summary)
    assert made is not None
    assert made["columns"] == ["disc", "bar & <b>ring</b>", "missed"]
    assert [row["name"] for row in made["rows"]] == ["disc", "bar & <b>ring</b>", "background"]
    assert [[cell["count"] for cell in row["cells"]] for row in made["rows"]] == [[5, 4, 0], [0, 6, 1], [1, 0, 0]]
    assert [cell["right"] for row in made["rows"] for cell in row["cells"]].count(True) == 2
    assert made["rows"][0]["cells"][0]["share"] == pytest.approx(5 / 9)


@pytest.mark.parametrize(
    ("classes", "used", "shown"),
    [
        (MATRIX_CLASSES, MATRIX_CLASSES, True),
        (MATRIX_CLASSES + 1, MATRIX_CLASSES + 1, False),
        (80, 3, True),
        (3, 0, False),
    ],
)
def test_a_matrix_of_many_classes_is_left_out(summary: Summary, classes: int, used: int, shown: bool) -> None:
    cells = [[int(i == j and i < used) for j in range(classes + 1)] for i in range(classes + 1)]
    made = matrix(analysis(confusion=Confusion(classes=list(range(classes)), matrix=cells)), summary)
    assert (made is not None) == shown
    if made:
        assert (len(made["rows"]), made["left_out"]) == (used + 1, classes - used)


def test_classes_with_few_objects_take_the_common_threshold() -> None:
    made = analysis()
    rows = {row["name"]: row for row in class_error_rows(made, recommend(made))}
    assert rows.keys() == {"disc", "bar & <b>ring</b>"}, "a class without objects and detections has no row"
    assert [row["threshold"].own for row in rows.values()] == [False, True]
    assert rows["disc"]["counts"] == made.per_class[0].counts
    assert all(row["threshold"] is None for row in class_error_rows(made, None))


def test_splits_without_facts(summary: Summary) -> None:
    assert [split["images"] for split in split_facts({})] == [None, None]
    assert [split["images"] for split in split_facts(replace(summary).data)] == [1234, 15]
