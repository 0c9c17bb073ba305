"""The sentence that says what to do next, by rule."""

from dataclasses import replace
from typing import Any

import pytest

from tests.trainer.made_decision import NONE
from tests.trainer.made_report import Run, analysis, thresholds
from trainer.coco.analysis import ERROR_NAMES, Confusion
from trainer.coco.label_errors import Finding
from trainer.promotion.serving import recommend
from trainer.promotion.summary import Summary
from trainer.report.next_step import RULES, Facts, next_step


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    run = Run(tmp_path_factory.mktemp("run"))
    return replace(run.summary(run.good, NONE), history=(), ap_small=0.5, ap_medium=0.5, ap_large=0.6)


def finding(suspicion: float, image: int) -> Finding:
    return Finding(
        kind="overlooked",
        suspicion=suspicion,
        image_id=image,
        annotation=None,
        category_id=None,
        bbox=None,
        suggested_category_id=1,
        suggested_bbox=[0, 0, 5, 5],
        score=0.9,
    )


def errors(**counts: int) -> dict[str, int]:
    return dict.fromkeys(ERROR_NAMES, 0) | {"correct": 100} | counts


def history(*aps: float) -> tuple[dict[str, Any], ...]:
    return tuple({"step": 100 * i, "ap": ap} for i, ap in enumerate(aps, start=1))


SURE = tuple(finding(0.9, i // 2) for i in range(6))
SIZES = {"small": 60, "medium": 60, "large": 40}
CONFUSION = Confusion(classes=[1, 2], matrix=[[50, 9, 0], [2, 40, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ("changes", "run", "findings", "words"),
    [
        (
            {},
            {},
            SURE,
            "Look at the labels first: 6 boxes in 3 images contradict confident detections. Open",
        ),
        ({}, {}, SURE, "start with first.jpg"),
        ({"overall": thresholds(objects=60)}, {}, SURE, "Look at the labels first"),
        ({"overall": thresholds(objects=60)}, {}, SURE[:2], "Annotate more validation images: 60 objects"),
        ({"overall": thresholds(objects=99)}, {}, (), "99 objects are too few"),
        ({"errors": errors(missed=9)}, {"history": history(0.1, 0.2, 0.3, 0.4)}, (), "Train longer: AP rose by 0.100"),
        ({"errors": errors(missed=9)}, {"history": history(0.1, 0.4, 0.4, 0.405)}, (), "Annotate more training images"),
        ({"errors": errors(missed=9)}, {"history": history(0.1, 0.4)}, (), "Annotate more training images"),
        (
            {"errors": errors(missed=9), "objects_by_size": SIZES},
            {"ap_small": 0.1},
            (),
            "Raise the input size: 60 of 160 objects are small, and their AP is 0.100 against 0.600",
        ),
        ({"errors": errors(missed=9), "objects_by_size": SIZES}, {"ap_small": None}, (), "Annotate more training"),
        (
            {"errors": errors(missed=9)},
            {"data": {"train": {"class_histogram": {"bar & <b>ring</b>": 1234}}}},
            (),
            "'bar & <b>ring</b>': 1 of 7 were missed; the training data has 1,234 of them.",
        ),
        (
            {"errors": errors(missed=9, confused=8), "confusion": CONFUSION},
            {},
            (),
            "Look at 'disc' and 'bar & <b>ring</b>' together: 9 objects of the first were found as the second.",
        ),
        ({"errors": errors(mislocalised=5, missed=4)}, {}, (), "how tightly boxes are drawn: 5 detections"),
        ({"errors": errors(background=5)}, {}, (), "Serve with the recommended threshold 0.42: at 0.3, 5 detections"),
        ({"errors": errors(background=5), "score_threshold": 0.5}, {}, (), "Add training images without objects"),
        ({"errors": errors(duplicate=5)}, {}, (), "annotated in two ways (whole and in parts): 5 detections"),
        ({"errors": errors()}, {}, (), "The model makes no error at a score of 0.3"),
    ],
)
def test_rules(summary: Summary, changes, run, findings, words) -> None:
    made = analysis(**changes)
    facts = Facts(
        run=replace(summary, **run), analysis=made, findings=findings, serving=recommend(made), files={0: "first.jpg"}
    )
    text = next_step(facts)
    assert words in text
    assert text.endswith((".", "?"))
    assert "\n" not in text


def test_the_last_rule_always_applies(summary: Summary) -> None:
    empty = analysis(errors=errors(correct=0), per_class=(), overall=thresholds(objects=0))
    facts = Facts(run=summary, analysis=empty, findings=(), serving=None, files={})
    assert RULES[-1](facts)
