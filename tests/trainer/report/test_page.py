"""The report's page: what it says, that it loads nothing, and how it looks in a browser."""

import html
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.trainer.made_decision import FAILED, NONE
from tests.trainer.made_report import Run, analysis
from trainer.coco.analysis import ERROR_NAMES, Analysis, Confusion, PrecisionRecall
from trainer.coco.bootstrap import Comparison, Interval
from trainer.promotion.rules import RULE_NAMES
from trainer.report.page import write_report
from trainer.report.words import fraction, signed


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
    order = ["Promoted: v0002 is the champion", "Rules of the gate", "The twelve COCO metrics", "Classes"]
    order += ["Where it fails", "What it sees", "Training", "Data", "The run", "Configuration"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert fraction(run.poor.metrics["ap"]) in text
    assert signed(run.good.metrics["ap"] - run.poor.metrics["ap"]) in text
    assert text.count("never seen") == 1
    for words in ("1,234 images", "5,678 objects", "box_too_small 7 0", "2 min 05 s", "pycocotools", "d1ge57d1ge57"):
        assert words in text, words
    passed, skipped = (page.count(f'aria-label="{verdict}"') for verdict in ("passed", "skipped"))
    assert passed + skipped == len(RULE_NAMES)
    assert min(passed, skipped) > 0
    assert f"{passed} rules passed, {skipped} skipped. AP 1.0000 against" in text
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
def test_the_comparison_with_the_champion_is_on_top(run, ap, verdict, difference):
    candidate = replace(run.good, metrics={**run.good.metrics, "ap": ap})
    page = run.page(run.summary(candidate, run.good, "v0001"))
    banner = text_of(page[page.index("<section") : page.index("</section>")])
    assert banner.startswith(verdict)
    assert f"AP {ap:.4f} against 1.0000 of the champion v0001 on the same images: the difference is" in banner
    assert f"95 % interval {difference} to {difference}, better with probability" in banner
    assert "its lower end must be at least -0.0050" in banner


def test_pending_approval(run):
    passed = run.summary(run.good, run.poor, "v0001")
    decision = replace(
        passed.decision, outcome="pending approval", sentence="pending approval: v0002 (champion is v0001)"
    )
    page = run.page(replace(passed, decision=decision))
    assert "<title>Pending approval v0002 · AP 1.0000</title>" in page
    banner = text_of(page[page.index("<section") : page.index("</section>")])
    assert banner.startswith("Pending approval: v0002 passed, v0001 is still champion centernet approve v0002")
    assert "AP 1.0000 against" in banner


def test_nan_and_null_are_shown_not_hidden(run):
    broken = replace(run.good, metrics={**run.good.metrics, "ap": math.nan, "ap75": None})
    text = text_of(run.page(run.summary(broken, NONE)))
    assert "AP mean over IoU 0.50 to 0.95 nan" in text
    assert "AP75 IoU 0.75 \N{EN DASH}" in text
    assert "Not a finite fraction: ap is nan." in text


def test_nothing_is_loaded_from_anywhere(run):
    page = run.page(run.summary(run.good, run.poor, "v0001"))
    addresses = re.sub(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", "", page)  # letters by chance
    assert "http" not in addresses.lower().replace("http-equiv", "")
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


def test_a_summary_without_history_data_seconds_and_paths_is_enough(run):
    """As from a run that reused everything."""
    empty = {"history": (), "data": {}, "seconds": {}, "paths": {}, "versions": {}, "config": "", "data_digest": ""}
    page = run.page(replace(run.summary(run.good, NONE), objects_unusable=0, **empty))
    assert "Nothing was rejected or repaired." in text_of(page)
    assert "<svg" not in page


def analysed_page(run: Run, tmp_path: Path, found: Analysis | None, change: dict | None = None) -> str:
    summary = run.summary(run.good, run.poor, "v0001")
    summary = replace(summary, decision=replace(summary.decision, **(change or {})))
    if found is not None:
        (tmp_path / "analysis.json").write_text(found.to_json())
    tmp_path.mkdir(exist_ok=True)
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
    "ap_interval": Interval(low=0.41, high=0.47),
    "intervals": {
        "champion": Comparison(delta=0.01, low=-0.002, high=0.022, probability_better=0.94, resamples=1000),
        "best": None,
    },
}


@pytest.fixture(scope="module")
def analysed(run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page with an analysis."""
    return analysed_page(run, tmp_path_factory.mktemp("analysed"), analysis())


def test_analysis_and_intervals_are_shown(run, tmp_path):
    page = analysed_page(run, tmp_path, analysis(), INTERVALS)
    text = text_of(page)
    for words in (
        "95 % interval 0.4100 to 0.4700",
        "+0.0100 AP against the champion, 95 % interval \N{MINUS SIGN}0.0020 to +0.0220",
        "better with a probability of 94 %",
        "confused right place, wrong class 4",
        "disc bar &amp; &lt;b&gt;ring&lt;/b&gt; 4",
        "Mean over the classes",
        "Classes at IoU 0.50",
        "Calibration of the scores",
        "Small objects below",
    ):
        assert words in text, words
    assert "against the best" not in text
    places = [text.index(words) for words in ("Best Images with the most", "Missed Images with the most")]
    assert places == sorted(places)
    assert Loads(page).open == []


@pytest.mark.parametrize("found", [None, "{}"])
def test_a_report_without_analysis_says_so(run, tmp_path, found):
    if found is not None:
        (tmp_path / "analysis.json").write_text(found)
    text = text_of(
        analysed_page(run, tmp_path, None, {"ap_interval": None, "intervals": {"champion": None, "best": None}})
    )
    assert "Precision curves, thresholds, calibration, kinds of errors and chosen pictures are missing:" in text
    assert "centernet evaluate" in text
    assert "The decision contains no bootstrap interval." in text
    assert "Spread evenly over the validation set" in text


def test_parity(run):
    summary = run.summary(run.good, NONE)
    assert "The exported model was not compared with the trained one." in text_of(run.page(summary))
    parity = {"images": 64, "matched": 261, "unmatched": 0, "max_score_delta": 0.0009, "max_box_delta": 0.03}
    assert "on 64 validation images: 261 detections match, 0 have no counterpart" in text_of(
        run.page(replace(summary, parity=parity))
    )


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
    assert "No class was confused with another one." in text
    assert "Precision and calibration" not in text


def test_the_header_names_run_date_data_and_commit(run):
    summary = replace(
        run.summary(run.good, NONE), run="20261122-030000", created="2026-11-22T03:10+00:00", commit="c0ffee" * 6
    )
    page = run.page(summary)
    text = text_of(page[page.index("<body>") : page.index("<section")])
    for words in (
        "run 20261122-030000 · 2026-11-22 03:10 UTC",
        f"data {run.annotations} · 1,234 training images · 15 validation images · digest d1ge57d1ge57",
        f"commit {'c0ffee' * 6}",
    ):
        assert words in text, words
    assert "commit unknown" in text_of(run.page(run.summary(run.good, NONE)))


def test_every_class_has_counts_and_a_threshold(analysed):
    text = text_of(analysed)
    assert "Class Objects Found Missed Confused False Threshold Precision Recall F1" in text
    assert "disc 90 5 4 4 1 0.420 0.7500 0.6000 0.6667" in text
    assert "ring&lt;/b&gt; 7 6 1 0 4 common" in text
    assert "For all classes together it is 0.420 (precision 0.750, recall 0.600, F1 0.667)" in text
    assert "classes with fewer than 20 objects take it" in text
    assert "Best F1 0.67 at a threshold of 0.42: precision 0.75, recall 0.60." in text


def test_sizes_have_the_counts_of_ap(analysed):
    """By `area`, as AP counts, not by the boxes of the records."""
    text = text_of(analysed)
    sizes = text[text.index("Size AP") : text.index("Classes AP of each class")]
    assert re.search(r"Small objects below 32. pixels .* 97 Medium", sizes)
    assert re.search(r"Medium .* 63 Large", sizes)


def test_confusion_matrix(run, tmp_path, analysed):
    text = text_of(analysed)
    assert "missed disc 5 4 0 bar &amp; &lt;b&gt;ring&lt;/b&gt; 0 6 1 background 1 0 0" in text
    many = Confusion(classes=list(range(31)), matrix=[[1] * 32 for _ in range(32)])
    text = text_of(analysed_page(run, tmp_path, analysis(confusion=many)))
    assert "Confusion matrix" not in text
    assert "Object detected as" in text


def test_the_next_step_is_on_top(run, tmp_path, analysed):
    text = text_of(analysed)
    assert text.index("Next step. Look at &#39;disc&#39;") < text.index("Measured on")
    text = text_of(analysed_page(run, tmp_path / "other", None))
    assert "Next step. Evaluate the model again with centernet evaluate" in text


def test_likely_label_errors_are_shown_and_written(tmp_path):
    """One swapped class among labels that the model otherwise agrees with."""
    run = Run(tmp_path)
    dataset = json.loads(run.annotations.read_text())
    dataset["annotations"][2]["category_id"] = 2
    run.annotations.write_text(json.dumps(dataset))
    image = dataset["annotations"][2]["image_id"]
    page = analysed_page(run, tmp_path, analysis(), {})
    text = text_of(page)
    assert "0 overlooked, 1 swapped, 0 badly placed, 0 spurious" in text
    assert f"{image:03d}.jpg · swapped, suspicion 0." in text
    listed = json.loads((tmp_path / "label_errors.json").read_text())
    assert [entry["file_name"] for entry in listed["findings"]] == [f"{image:03d}.jpg"]
    assert len(json.loads((tmp_path / "label_errors.coco.json").read_text())["images"]) == 1
    assert Loads(page).open == []


def test_a_training_without_validation_says_so(run):
    summary = run.summary(run.good, NONE)
    assert "No validation was made during training" in text_of(run.page(summary))
    rows = tuple({"step": i, "total_loss": 3.0, "ap": 0.1 * i, "ap50": 0.2 * i} for i in range(4))
    page = run.page(replace(summary, history=rows))
    assert "No validation was made" not in page
    assert "<figcaption>AP<span>Interim AP, mean over IoU 0.50 to 0.95" in page
    assert "<figcaption>AP50<span>" in page


def test_every_colour_has_a_dark_value(analysed):
    """Charts and page take their colours from variables, all of which change with the scheme."""
    page = analysed
    light, dark = page[page.index(":root") :].split("@media (prefers-color-scheme: dark)", 1)
    dark = dark[: dark.index("} }")]
    names = {*re.findall(r"var\((--[\w-]+)\)", page)}
    defined = {*re.findall(r"(--[\w-]+):", light[: light.index("}")])}
    assert names <= defined
    assert defined <= {*re.findall(r"(--[\w-]+):", dark)}
    charts = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "var(--soft)" in charts
    fixed = {*re.findall(r"#[0-9a-f]{6}", charts)} - {"#000000", "#ffffff"}
    assert fixed == set(), "a colour that stays as it is on a dark page"
    assert not re.search(r"(?:fill|stroke): #000000", charts)


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no headless Chromium on this machine (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [400, 1200], ids=["phone", "desktop"])
def test_a_real_browser_shows_all_of_it_without_the_network(run, tmp_path, width):
    """Every picture is decoded, the page is no wider than the screen, and nothing is requested from elsewhere."""
    page = analysed_page(run, tmp_path, analysis(), INTERVALS)
    # The report itself has no script. This one, in a frame around it, inspects it and writes what it found.
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
    # Headless Chromium's window is at least 500 pixels wide: the phone is a frame in it.
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
