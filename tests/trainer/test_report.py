import html
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_decision import decide
from PIL import Image

from beam_preprocess.errors import InputError
from trainer.analysis import (
    ERROR_NAMES,
    Analysis,
    CalibrationBin,
    ClassCurve,
    Confusion,
    ImageCounts,
    PrecisionRecall,
)
from trainer.coco_metrics import score
from trainer.decision import RULE_NAMES
from trainer.evaluation import Evaluation, NoEvaluation
from trainer.gate import GateConfig
from trainer.promote import hold
from trainer.report import main, write_report
from trainer.report_gallery import gallery
from trainer.report_plots import training_curves
from trainer.report_words import duration, fraction, plain_value, signed
from trainer.summary import build_summary, write_summary

NAMES = {1: "disc", 2: "bar & <b>ring</b>", 5: "never seen"}
NONE = NoEvaluation(status="none", reason="the registry is empty")
FAILED = NoEvaluation(status="failed", reason="saved_model.pb is missing")


class Run:
    """A small run on disk: 15 JPEGs, annotations, predictions, and evaluations of two models."""

    def __init__(self, folder: Path) -> None:
        random = np.random.default_rng(3)
        self.images, self.annotations = folder / "images", folder / "instances.json"
        self.predictions, self.output = folder / "predictions.json", folder / "out" / "report.html"
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

    def summary(self, candidate: Evaluation, champion: Evaluation | NoEvaluation, version: str = "") -> dict:
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

    def page(self, summary: dict) -> str:
        self.write(summary)
        return self.output.read_text(encoding="utf-8")

    def write(self, summary: dict) -> None:
        write_report(
            run=summary,
            predictions=str(self.predictions),
            annotations=str(self.annotations),
            images=str(self.images),
            output=str(self.output),
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("run"))


class Loads(HTMLParser):
    """Every attribute that makes a browser load something, open tags, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = ("src", "href", "xlink:href", "srcset", "data", "action", "poster", "background")
        self.loads += [value or "" for name, value in attrs if name in names]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"


def text_of(page: str) -> str:
    page = re.sub(r"<(style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_promoted(run):
    page = run.page(run.summary(run.good, run.poor, "v0001"))
    text = text_of(page)
    assert "<title>Promoted v0002 · AP 1.0000</title>" in page
    order = ["Promoted: v0002 is the champion", "Rules of the gate", "The twelve COCO numbers", "Classes"]
    order += ["Where it fails", "What it sees", "Training", "Data", "The run", "Configuration"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert fraction(run.poor.metrics["ap"]) in text
    assert signed(run.good.metrics["ap"] - run.poor.metrics["ap"]) in text
    assert text.count("never seen") == 1
    for words in ("1,234 images", "5,678 objects", "box_too_small 7 0", "2 min 05 s", "pycocotools", "d1ge57d1ge57"):
        assert words in text, words
    assert page.count('aria-label="passed"') == len(RULE_NAMES)
    assert 'aria-label="failed"' not in page


@pytest.mark.parametrize(
    ("champion", "version", "title", "words"),
    [
        ("good", "v0001", "Held: v0001 stays champion", "is below the minimum 0.4000"),
        (NONE, "", "Held: no model was promoted", "is below the minimum 0.4000"),
        (FAILED, "v0003", "Held: v0003 stays champion", "could not be scored: saved_model.pb is missing"),
    ],
)
def test_held_says_why_on_top(run, champion, version, title, words):
    low = replace(run.poor, metrics={**run.poor.metrics, "ap": 0.3})
    page = run.page(run.summary(low, run.good if champion == "good" else champion, version))
    banner = text_of(page[page.index("<section") : page.index("</section>")])
    assert title in banner
    assert words in banner
    assert 'class="banner held"' in page
    assert 'aria-label="failed"' in page


@pytest.mark.parametrize(("ap", "verdict", "difference"), [(0.9, "Held", "-0.1000"), (0.999, "Promoted", "-0.0010")])
def test_the_comparison_with_the_champion_stands_on_top(run, ap, verdict, difference):
    candidate = replace(run.good, metrics={**run.good.metrics, "ap": ap})
    page = run.page(run.summary(candidate, run.good, "v0001"))
    banner = text_of(page[page.index("<section") : page.index("</section>")])
    assert banner.startswith(verdict)
    assert f"AP {ap:.4f} against 1.0000 of the champion v0001 on the same images: the difference is" in banner
    assert f"95 % interval {difference} to {difference}, better with probability" in banner
    assert "its lower end must be at least -0.0050" in banner


def test_nan_and_null_are_shown_not_hidden(run):
    broken = replace(run.good, metrics={**run.good.metrics, "ap": math.nan, "ap75": None})
    text = text_of(run.page(run.summary(broken, NONE)))
    assert "AP mean over IoU 0.50 to 0.95 nan" in text
    assert "AP75 IoU 0.75 \N{EN DASH}" in text
    assert "Not a finite fraction: ap is nan." in text


def test_nothing_is_loaded_from_anywhere(run):
    page = run.page(run.summary(run.good, run.poor, "v0001"))
    assert "http" not in page.lower().replace("http-equiv", "")
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", page)
    assert "@import" not in page
    parsed = Loads(page)
    assert not {"script", "link", "iframe", "object", "embed"} & set(parsed.tags)
    assert parsed.open == []
    assert all(value.startswith(("data:image/jpeg;base64,", "#")) for value in parsed.loads)
    assert sum(value.startswith("data:") for value in parsed.loads) == 12
    assert '<meta name="viewport" content="width=device-width' in page
    assert len(page) < 3_000_000


def test_user_text_is_escaped(run):
    page = run.page(run.summary(run.good, run.poor, "v0001"))
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "bar &amp; &lt;b&gt;ring&lt;/b&gt;" in page
    assert "<b>ring" not in page


def test_bare_summary_is_enough(run):
    """No history, data, seconds or paths, as from a run that reused everything."""
    summary = run.summary(run.good, NONE)
    for key in ("history", "data", "seconds", "paths", "versions", "config", "data_digest", "objects_unusable"):
        del summary[key]
    text = text_of(run.page(summary))
    assert "Nothing was rejected." in text
    assert "<svg" not in run.output.read_text()


def test_no_summary(run):
    with pytest.raises(InputError, match="lacks decision, champion"):
        run.write({})


# --- gallery ------------------------------------------------------------------------------------------------------


def pictures(run: Run, count: int = 12, **paths):
    given = {"images": run.images, "annotations": run.annotations, "predictions": run.predictions} | paths
    groups = gallery(count=count, score_threshold=0.3, **{name: str(path) for name, path in given.items()})
    return groups[0].pictures


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (2, 2), (12, 12), (15, 15), (100, 15)])
def test_gallery_spreads_over_the_set(run, count, shown):
    ids = [picture.image_id for picture in pictures(run, count)]
    assert len(ids) == shown
    assert ids == sorted(set(ids))
    assert ids[0] == 0
    assert shown == 1 or ids[-1] == 14


def test_gallery_counts(run):
    by_id = {picture.image_id: picture for picture in pictures(run, 15)}
    assert (by_id[0].objects, by_id[0].detections) == (1, 1)  # the detection of score 0.25 is not drawn
    assert (by_id[4].objects, by_id[4].detections) == (0, 0)
    assert (by_id[9].objects, by_id[9].detections) == (0, 1)  # a crowd region is no object


def test_unreadable_image_is_said(run, tmp_path):
    for i in range(15):
        (tmp_path / f"{i:03d}.jpg").write_bytes((run.images / f"{i:03d}.jpg").read_bytes())
    (tmp_path / "000.jpg").write_bytes(b"no image")
    (tmp_path / "014.jpg").unlink()
    shown = pictures(run, 15, images=tmp_path)
    assert [picture.image_id for picture in shown if not picture.data_uri] == [0, 14]
    assert "cannot identify image" in shown[0].problem
    assert shown[14].problem


@pytest.mark.parametrize("content", ["{}", "[1]", '[{"image_id": 1}]', "{"])
def test_bad_predictions(run, tmp_path, content):
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(InputError, match=r"trainer\.evaluate"):
        pictures(run, predictions=tmp_path / "p.json")


# --- curves -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "titles"),
    [
        ([], []),
        ([{"step": 1}], []),
        ([{"step": 1, "total_loss": 2.0}], ["Loss"]),
        ([{"step": 1, "total_loss": 2.0, "epoch": 1}, {"step": 2, "validation_loss": 2.0}], ["Loss"]),
        (
            [{"step": i, "total_loss": 2.0, "ct_loss": 1.0, "scale_loss": 1.0, "learning_rate": 0.1} for i in (1, 2)],
            ["Loss", "Parts of the loss", "Learning rate"],
        ),
        ([{"step": 1, "total_loss": math.nan}, {"step": 2, "total_loss": None, "note": "text"}], []),
        ([{"step": i, "total_loss": 0.0} for i in range(3)], ["Loss"]),
    ],
)
def test_curves(history, titles):
    panels = training_curves(history)
    assert [panel.title for panel in panels] == titles
    for panel in panels:
        assert panel.svg.startswith("<svg viewBox=")
        assert "http" not in panel.svg


def test_ids_of_two_charts_differ():
    panels = training_curves([{"step": i, "total_loss": 2.0, "learning_rate": 2.0} for i in range(5)])
    first, second = (set(re.findall(r'<clipPath id="([^"]+)"', panel.svg)) for panel in panels)
    assert first
    assert not first & second


# --- words, command line ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (fraction, 0.40006, "0.4001"),
        (fraction, None, "\N{EN DASH}"),
        (signed, 0.01234, "+0.0123"),
        (signed, -0.5, "\N{MINUS SIGN}0.5000"),
        (signed, -0.00001, "0.0000"),
        (signed, None, "\N{EN DASH}"),
        (duration, 7.25, "7.2 s"),
        (duration, 125, "2 min 05 s"),
        (duration, 11220, "3 h 07 min"),
        (plain_value, 72, "72"),
        (plain_value, -0.005, "\N{MINUS SIGN}0.0050"),
        (plain_value, None, "\N{EN DASH}"),
        (plain_value, "0123456789abcdef0123", "0123456789ab\u2026"),
    ],
)
def test_words(function, value, expected):
    assert function(value) == expected


def test_command_line(run, tmp_path, capsys):
    write_summary(run.summary(run.good, NONE), str(tmp_path / "summary.json"))
    arguments = ["--predictions", str(run.predictions), "--images", str(run.images)]
    arguments += ["--annotations", str(run.annotations), "--output", str(tmp_path / "report.html")]
    assert main(["--run", str(tmp_path / "summary.json"), *arguments]) == 0
    assert "Promoted: v0002" in (tmp_path / "report.html").read_text()
    assert main(["--run", str(tmp_path / "absent.json"), *arguments]) == 2
    assert "no such file" in capsys.readouterr().err


# --- analysis -----------------------------------------------------------------------------------------------------


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
            ClassCurve(category_id=1, name="disc", precision50=curve),
            ClassCurve(category_id=5, name="never seen", precision50=None),
        ),
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


def analysed_page(run: Run, tmp_path: Path, found: Analysis | None, change: dict | None = None) -> str:
    summary = run.summary(run.good, run.poor, "v0001")
    summary["decision"] |= change or {}
    if found is not None:
        (tmp_path / "analysis.json").write_text(found.to_json())
    output = tmp_path / "report.html"
    write_report(
        run=summary,
        predictions=str(run.predictions),
        annotations=str(run.annotations),
        images=str(run.images),
        output=str(output),
        analysis=str(tmp_path / "analysis.json"),
    )
    return output.read_text()


INTERVALS = {
    "ap_interval": {"low": 0.41, "high": 0.47},
    "intervals": {
        "champion": {"delta": 0.01, "low": -0.002, "high": 0.022, "probability_better": 0.94, "resamples": 1000},
        "best": None,
    },
}


def test_analysis_and_intervals_are_shown(run, tmp_path):
    page = analysed_page(run, tmp_path, analysis(), INTERVALS)
    text = text_of(page)
    for words in (
        "95 % interval 0.4100 to 0.4700",
        "against the champion +0.0100 AP, 95 % interval \N{MINUS SIGN}0.0020 to +0.0220",
        "better with a probability of 94 %",
        "confused right place, wrong class 4",
        "disc bar &amp; &lt;b&gt;ring&lt;/b&gt; 4",
        "Mean of the classes",
        "Classes at IoU 0.50",
        "Calibration of the scores",
        "Small objects below",
    ):
        assert words in text, words
    assert "against the best" not in text
    places = [text.index(words) for words in ("Best Everything found", "Missed Most objects without")]
    assert places == sorted(places)
    assert Loads(page).open == []


@pytest.mark.parametrize("found", [None, "{}"])
def test_a_report_without_analysis_says_so(run, tmp_path, found):
    if found is not None:
        (tmp_path / "analysis.json").write_text(found)
    text = text_of(
        analysed_page(run, tmp_path, None, {"ap_interval": None, "intervals": {"champion": None, "best": None}})
    )
    assert "No curves of precision, calibration, kinds of errors or chosen pictures:" in text
    assert "trainer.evaluate" in text
    assert "No bootstrap interval: the decision holds none." in text
    assert "Spread evenly over the set" in text


def test_parity_is_told(run):
    summary = run.summary(run.good, NONE)
    assert "Whether the exported model is the trained one was not measured" in text_of(run.page(summary))
    parity = {"images": 64, "matched": 261, "unmatched": 0, "max_score_delta": 0.0009, "max_box_delta": 0.03}
    assert "on 64 validation images 261 detections of both agree, 0 have no counterpart" in text_of(
        run.page(summary | {"parity": parity})
    )


def test_gallery_chooses_best_worst_missed_and_confused(run):
    groups = gallery(
        images=str(run.images),
        annotations=str(run.annotations),
        predictions=str(run.predictions),
        count=8,
        score_threshold=0.3,
        analysis=analysis(),
    )
    shown = {group.title: [picture.image_id for picture in group.pictures] for group in groups}
    assert shown == {"Best": [7, 1], "Missed": [2, 5], "Confused": [0]}, "nothing bad is left for the worst"
    everything = [image_id for ids in shown.values() for image_id in ids]
    assert len(everything) == len(set(everything)), "no image twice"


def test_confusion_free_and_empty_analysis(run, tmp_path):
    empty = analysis(
        errors=dict.fromkeys(ERROR_NAMES, 0),
        confusion=Confusion(classes=[1], matrix=[[0, 0], [0, 0]]),
        calibration=(),
        precision_recall=PrecisionRecall(
            recall=[i / 100 for i in range(101)], precision={"mean": None, "0.50": None, "0.75": None}
        ),
        per_class=(),
        images=(),
    )
    text = text_of(analysed_page(run, tmp_path, empty))
    assert "No class was taken for another one." in text
    assert "Precision and calibration" not in text


# --- a browser ----------------------------------------------------------------------------------------------------


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no headless Chromium on this machine (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [400, 1200], ids=["phone", "desktop"])
def test_a_real_browser_shows_all_of_it_without_the_network(run, tmp_path, width):
    """Every picture is decoded, the page is no wider than the screen, and nothing is asked for elsewhere."""
    page = analysed_page(run, tmp_path, analysis(), INTERVALS)
    # The report itself has no script: this one, in a frame around it, looks at it and writes what it found.
    probe = """<script>window.onload = () => { const images = [...document.images];
      const wide = [...document.querySelectorAll('body > *')]
        .filter(e => e.scrollWidth > innerWidth && !e.closest('.scroll'));
      document.body.setAttribute('data-found', JSON.stringify({
        images: images.length, decoded: images.filter(i => i.naturalWidth > 0).length,
        curves: [...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height > 50).length,
        wide: wide.length, overflow: document.documentElement.scrollWidth - innerWidth,
        requests: performance.getEntriesByType('resource').filter(r => !r.name.startsWith('data:')).length,
      })); }</script></body>"""
    (tmp_path / "probed.html").write_text(page.replace("</body>", probe))
    # Headless Chromium makes no window narrower than 500 pixels: a phone is a frame in it.
    frame = f'<iframe src="probed.html" style="width:{width}px;height:900px;border:0"></iframe>'
    read = """<script>window.onload = () => setTimeout(() => document.body.setAttribute('data-found',
      document.querySelector('iframe').contentDocument.body.getAttribute('data-found')), 300)</script>"""
    (tmp_path / "frame.html").write_text(f"<!doctype html><body>{frame}{read}</body>")
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-extensions",
    ]
    command += [
        "--allow-file-access-from-files",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path}/c",
    ]
    command += ["--virtual-time-budget=5000", "--window-size=1300,1000", "--dump-dom"]
    done = subprocess.run(
        [*command, f"file://{tmp_path}/frame.html"], capture_output=True, text=True, timeout=120, check=True
    )
    attribute = re.search(r'data-found="([^"]+)"', done.stdout)
    assert attribute, done.stdout[-500:] + done.stderr[-500:]
    found = json.loads(html.unescape(attribute[1]))
    assert found["images"] == found["decoded"] > 3
    assert found["curves"] >= 5
    assert found["overflow"] <= 0
    assert (found["wide"], found["requests"]) == (0, 0)
