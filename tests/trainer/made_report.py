"""A small run as the report reads it, and an analysis of it."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.trainer.made_decision import decide
from trainer.coco.analysis import (
    ERROR_NAMES,
    Analysis,
    CalibrationBin,
    ClassAnalysis,
    ClassCounts,
    Confusion,
    ImageCounts,
    OperatingPoint,
    PrecisionRecall,
    ThresholdCurve,
)
from trainer.coco.metrics import score
from trainer.config.sections import GateConfig
from trainer.promotion.evaluation import Evaluation, NoEvaluation
from trainer.promotion.publish import hold
from trainer.promotion.summary import Summary, build_summary
from trainer.report.page import write_report

NAMES = {1: "disc", 2: "bar & <b>ring</b>", 5: "never seen"}


class Run:
    """A small run on disk: 15 JPEGs, annotations, predictions, and evaluations of two models."""

    def __init__(self, folder: Path) -> None:
        random = np.random.default_rng(3)
        self.images, self.annotations = folder / "images", folder / "instances.json"
        self.predictions, self.output = folder / "predictions.json", folder / "out" / "report.html"
        self._pages: dict[str, str] = {}
        self.images.mkdir()
        images, truths, good, poor = [], [], [], []
        for i in range(15):
            width, height = (96, 64) if i % 2 else (48, 80)
            pixels = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(self.images / f"{i:03d}.jpg")
            images.append({"id": i, "file_name": f"{i:03d}.jpg", "width": width, "height": height})
            if i == 4:
                continue  # an image without objects or detections
            category = 1 + i % 2
            box = [4.0, 6.0, 30.0, 33.0]
            truths.append({"image_id": i, "category_id": category, "bbox": box, "iscrowd": int(i == 9)})
            good.append({"image_id": i, "category_id": category, "bbox": box, "score": 0.9})
            poor.append({"image_id": i, "category_id": category, "bbox": [*box[:2], 24.0, 30.0], "score": 0.25})
        categories = [{"id": number, "name": name} for number, name in NAMES.items()]
        dataset = {"images": images, "annotations": truths, "categories": categories}
        self.annotations.write_text(json.dumps(dataset))
        self.predictions.write_text(json.dumps(good + poor))
        self.good, self.poor = self.evaluation(good), self.evaluation(poor)

    def evaluation(self, predictions: list[dict]) -> Evaluation:
        metrics = score(str(self.annotations), predictions, range(15))
        return Evaluation.from_metrics(metrics, model="m", data_digest="d1ge57" * 10, seconds=1.0)

    def summary(self, candidate: Evaluation, champion: Evaluation | NoEvaluation, version: str = "") -> Summary:
        decision = decide(candidate, champion, GateConfig(min_ap=0.4, require_parity=False), version)
        return build_summary(
            candidate=candidate,
            champion=champion,
            decision=decision,
            outcome=f"promoted: v0002 (was {version})" if decision.promote else hold(decision),
            config="gate: {min_ap: 0.4}  # <script>alert(1)</script>\n",
            data={
                "train": {"images": 1234, "objects": 5678, "rejects": {"box_too_small": 7}, "data_digest": "trainer"},
                "val": {"images": 15, "class_histogram": {"disc": 7}, "size_histogram": {"small": 3, "medium": 11}},
            },
            history=[{"step": i, "total_loss": 3 - i / 5, "learning_rate": 0.001} for i in range(5)],
            seconds={"train": 125.0, "gate": 0.5},
            paths={"run": "runs/2026-11-22"},
        )

    def page(self, summary: Summary) -> str:
        """The page of a summary, which is made once."""
        key = repr(summary)
        if key not in self._pages:
            self.write(summary)
            self._pages[key] = self.output.read_text(encoding="utf-8")
        return self._pages[key]

    def write(self, summary: Summary) -> None:
        write_report(
            run=summary,
            predictions=str(self.predictions),
            annotations=str(self.annotations),
            images=str(self.images),
            output=str(self.output),
        )


def thresholds(objects: int) -> ThresholdCurve:
    """A class whose best threshold is 0.42."""
    best = OperatingPoint(score=0.42, precision=0.75, recall=0.6, f1=2 / 3)
    return ThresholdCurve(
        objects=objects,
        precision=[i / 100 if i < 95 else None for i in range(101)],
        recall=[1 - i / 100 if objects else None for i in range(101)],
        f1=[0.5] * 101,
        best=best if objects else None,
    )


def analysis(**changes) -> Analysis:
    """Image 0 is confused, 2 misses, 5 is bad in both ways, 7 is faultless; the rest has one correct object."""
    counts = {0: (0, 1, 1), 2: (0, 2, 0), 5: (0, 1, 2), 7: (3, 0, 0)}
    curve = [1 - i / 100 for i in range(101)]
    values = {
        "score_threshold": 0.3,
        "iou_threshold": 0.5,
        "precision_recall": PrecisionRecall(
            recall=[i / 100 for i in range(101)], precision={"mean": curve, "0.50": curve, "0.75": None}
        ),
        "per_class": (
            ClassAnalysis(
                category_id=1,
                name="disc",
                precision50=curve,
                counts=ClassCounts(correct=5, missed=4, confused=4, false=1),
                thresholds=thresholds(objects=90),
            ),
            ClassAnalysis(
                category_id=2,
                name=NAMES[2],
                precision50=curve,
                counts=ClassCounts(correct=6, missed=1, confused=0, false=4),
                thresholds=thresholds(objects=7),
            ),
            ClassAnalysis(
                category_id=5,
                name="never seen",
                precision50=None,
                counts=ClassCounts(correct=0, missed=0, confused=0, false=0),
                thresholds=thresholds(objects=0),
            ),
        ),
        "overall": thresholds(objects=160),
        "objects_by_size": {"small": 97, "medium": 63, "large": 0},
        "errors": dict.fromkeys(ERROR_NAMES, 0) | {"correct": 11, "confused": 4},
        "confusion": Confusion(classes=[1, 2], matrix=[[5, 4, 0], [0, 6, 1], [1, 0, 0]]),
        "calibration": (
            CalibrationBin(low=0.0, high=0.1, count=0, mean_score=None, precision=None),
            CalibrationBin(low=0.9, high=1.0, count=9, mean_score=0.95, precision=0.8),
        ),
        "images": tuple(
            ImageCounts(image_id=i, correct=c, missed=m, false=f, confused=int(i == 0))
            for i, (c, m, f) in ((i, counts.get(i, (1, 0, 0))) for i in range(15))
        ),
    }
    return Analysis(**values | changes)
