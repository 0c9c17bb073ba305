"""The page at /, in a real browser, with a running server behind it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.trainer.serving.browser import PROGRAM, Page, browser
from tests.trainer.serving.running import V1, Server, b64, running
from tests.trainer.validation_images import random_jpeg

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("exported"),
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"),
]

FOUND = "!document.getElementById('result').hidden && document.getElementById('image').naturalWidth > 0"
SHOWN = "document.querySelectorAll('.box').length"
"""Number of boxes."""


@pytest.fixture(scope="module")
def server(exported: Path) -> Iterator[Server]:
    with running("--model", str(exported)) as made:
        yield made


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browser(tmp_path / "profile") as made:
        yield made


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    """An image whose metadata asks for a rotation, which neither the model nor the page applies."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(random_jpeg(60, 90))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)
    return path


def scores(server: Server, image: Path) -> list[tuple[str, float]]:
    """(class, score) of all detections that the page may show, best first."""
    body = {"instances": [b64(image.read_bytes())], "parameters": {"score_threshold": 0.05}}
    (found,) = json.loads(server.post(V1, body)[1])["predictions"]
    return sorted(zip(found["detection_names"], found["detection_scores"], strict=True), key=lambda d: -d[1])


def table(page: Page) -> list[Any]:
    rows = page.run("[...document.querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.textContent))")
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200], ids=["phone", "desktop"])
def test_a_dropped_photograph_shows_boxes_and_the_threshold_moves_them(
    server: Server, page: Page, photograph: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    page.open(server.url, width=width, scheme=scheme)
    page.drop("#drop", photograph)
    page.until(FOUND)
    expected = scores(server, photograph)
    assert len(expected) > 5, "an empty answer would prove nothing"
    assert page.run(SHOWN) == sum(score >= 0.3 for _, score in expected), "as served: the export's threshold"
    page.run("(t => { t.value = 0.05; t.dispatchEvent(new Event('input')); })(document.getElementById('threshold'))")
    assert page.run("document.getElementById('served').checked") is False
    assert page.run(SHOWN) == len(expected)
    assert table(page) == [(name, f"{score:.3f}") for name, score in expected]
    assert page.run("document.getElementById('status').textContent").startswith(
        f"{len(expected)} objects in photo.jpg, 90 × 60 pixels"
    )
    ratio = page.run("(r => r.width / r.height)(document.getElementById('image').getBoundingClientRect())")
    assert ratio == pytest.approx(90 / 60, abs=0.02), "as stored, not rotated"
    page.screenshot(tmp_path / "page.png")
    assert page.run("document.documentElement.scrollWidth") <= width, "no wider than the screen"
    ground, text = (
        sum(map(int, page.run(f"getComputedStyle(document.body).{name}.match(/\\d+/g).slice(0, 3)")))
        for name in ("backgroundColor", "color")
    )
    assert (ground > text) == (scheme == "light")
    assert abs(ground - text) > 400, "contrast"


def test_the_keyboard_is_enough(server: Server, page: Page, photograph: Path) -> None:
    page.open(server.url, width=1200)
    page.call("Page.setInterceptFileChooserDialog", enabled=True)
    page.press("Tab")
    assert page.run("document.activeElement.id") == "file"
    assert page.run("getComputedStyle(document.getElementById('drop')).outlineStyle") == "solid", "the focus is seen"
    page.press("Enter")
    chooser = page.event("Page.fileChooserOpened")
    page.call("DOM.setFileInputFiles", files=[str(photograph)], backendNodeId=chooser["backendNodeId"])
    page.until(FOUND)
    page.press("Tab")
    assert page.run("document.activeElement.id") == "served"
    page.press("Tab")
    assert page.run("document.activeElement.id") == "threshold"
    page.press("Home")
    everything = page.run(SHOWN)
    assert everything == len(scores(server, photograph))
    for _ in range(3):
        page.press("ArrowRight")
    assert page.run("document.getElementById('value').textContent") == "0.08"
    assert page.run(SHOWN) == sum(score >= 0.08 for _, score in scores(server, photograph))
    page.press("Home")
    page.press("Tab")
    assert page.run("document.activeElement.localName") == "tr"
    assert page.run("document.querySelectorAll('.box.lit').length") == 1, "the row's box is marked"


def test_what_is_not_an_image_is_named_and_the_next_photograph_is_shown(
    server: Server, page: Page, photograph: Path, tmp_path: Path
) -> None:
    page.open(server.url, width=400)
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    page.drop("#drop", text)
    message = page.until("document.querySelector('[role=alert]').textContent")
    assert message == "notes.txt: cannot be decoded as JPEG, PNG, GIF, BMP or WebP"
    assert page.run("document.getElementById('result').hidden") is True
    page.drop("#drop", photograph)
    page.until(FOUND)
    assert page.run("document.querySelector('[role=alert]').textContent") == ""


def test_nothing_comes_from_another_host(server: Server, page: Page, photograph: Path) -> None:
    page.open(server.url, width=400)
    page.drop("#drop", photograph)
    page.until(FOUND)
    requests = [e["params"]["request"]["url"] for e in page.events if e.get("method") == "Network.requestWillBeSent"]
    assert any(url.endswith(":predict") for url in requests)
    assert [url for url in requests if not url.startswith((server.url, "blob:", "data:"))] == []
