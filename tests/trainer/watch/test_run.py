"""Watching a registry's champion, from images to watch.json and the page."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.format.annotations import load_annotations
from pipeline.commands.watch import main
from tests.trainer.scoring.made_images import write_images
from trainer.profile.profile import Profile, read_profile
from trainer.profile.rows import Rows
from trainer.registry.digest import PROFILE_FILE, model_digest
from trainer.registry.local import LocalRegistry
from trainer.saved_model.inference import read_label_map
from trainer.scoring.results import read_results, read_rows
from trainer.watch.result import WatchResult, read_watch

pytestmark = pytest.mark.xdist_group("exported")  # one training and export for all of them

Watch = Callable[..., tuple[int, WatchResult]]


def photographs(folder: Path, count: int, *, light: float = 1.0, seed: int = 0) -> Path:
    """Noise of random brightness; each another picture."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        pixels = rng.normal(100 + 20 * rng.normal(), 30, (6, 9, 3)) * light
        large = np.kron(pixels, np.ones((6, 6, 1))).clip(0, 255).astype(np.uint8)
        (folder / f"{i:03d}.jpg").write_bytes(tf.io.encode_jpeg(large).numpy())
    return folder


@pytest.fixture(scope="module")
def registry(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> LocalRegistry:
    """One version, the champion, without a profile."""
    store = LocalRegistry(str(tmp_path_factory.mktemp("registry")))
    store.swap_alias("champion", store.publish(str(exported), {}, key="one"), expected=None)
    return store


@pytest.fixture(scope="module")
def validation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("data") / "val", 48)


@pytest.fixture
def watch(registry: LocalRegistry, validation: Path, tmp_path: Path) -> Watch:
    def run(images: Path, *more: str) -> tuple[int, WatchResult]:
        words = ["--images", str(images), "--registry", str(registry.root), "--output", str(tmp_path / "out")]
        code = main([*words, "--permutations", "999", *more])
        return code, read_watch(str(tmp_path / "out"))

    return run


def test_an_older_champion_is_profiled_now_and_darker_images_are_a_drift(
    watch: Watch, validation: Path, registry: LocalRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dark = photographs(tmp_path / "dark", 30, light=0.4, seed=1)
    (dark / "000.jpg").write_bytes(b"no image")
    code, found = watch(dark, "--val-images", str(validation), "--label", "7")
    printed = capsys.readouterr().out
    assert (code, found.verdict) == (3, "drifted")
    assert f"profile: v0001 has none; it is made now from 48 of the 48 images of {validation}\n" in printed
    assert "note: 1 of 30 images can't be scored, and are not compared" in printed
    assert re.search(r"^result: drifted: .*lower \(-[01]\.\d\d\).* \(p 0\.0010, 29 images\)$", printed, re.MULTILINE)
    moved = {entry.name for entry in found.statistics if entry.drifted}
    assert {"brightness", "contrast"} <= moved
    assert (found.champion, found.scored, found.rejects) == ("v0001", 29, {"not_an_image": 1})
    assert (found.features, found.profile) == (True, str(validation))
    assert found.model_digest == model_digest(registry.version("v0001").path)
    page = (tmp_path / "out" / "watch.html").read_text()
    assert "<h1>Drifted</h1>" in page
    assert page.count("data:image/jpeg;base64,") == 12 + 6
    assert '7 images in <a href="to_label.json">' in page
    assert not re.search(r"https?://|<script", page)
    results = {image.file_name: image for image in read_results(found.scores)}
    assert len(results) == len(read_rows(found.scores)) == 29
    assert re.search(r"^to label: 7 images with \d+ detections \(.*\): .*/out/to_label.json$", printed, re.MULTILINE)
    to_label = load_annotations(str(tmp_path / "out" / "to_label.json"))
    assert {*to_label.file_names} < results.keys()
    named = [(entry["id"], entry["name"]) for entry in read_label_map(registry.version("v0001").path)["categories"]]
    assert (len(to_label.file_names), to_label.categories) == (7, tuple(named))
    picks = json.loads((tmp_path / "out" / "to_label.json").read_text())["images"]
    assert {pick["attributes"]["rarity_in"] for pick in picks} <= {*moved, "look"}
    assert all("drifted" in pick["attributes"]["reasons"] for pick in picks), "all images are darker"


def test_a_stored_profile_and_a_second_run_that_reuses_the_scores(
    watch: Watch, registry: LocalRegistry, validation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images like those of the profile are steady, whichever way they are given."""
    new = photographs(tmp_path / "new", 40, seed=2)
    watch(validation, "--val-images", str(validation))
    made = read_rows(str(tmp_path / "out" / "profile"))
    shutil.rmtree(tmp_path / "out")
    folder = Path(registry.version("v0001").path)
    profile = write_profile(folder, made)
    try:
        code, found = watch(new)
        assert (code, found.verdict, found.profile) == (0, "steady", str(folder / PROFILE_FILE))
        printed = capsys.readouterr().out
        assert "profile: 48 validation images, stored with the model" in printed
        assert "result: steady: none of " in printed
        before = (tmp_path / "out" / "watch.json").read_bytes()
        watch(new)
        assert "reused the results" in capsys.readouterr().out
        assert (tmp_path / "out" / "watch.json").read_bytes() == before
        assert json.loads((tmp_path / "out" / "to_label.json").read_text())["info"]["candidates"] == 40
        old = new / "000.jpg"
        os.utime(old, (1e9, 1e9))
        code = main(
            ["--images", str(new), "--registry", str(registry.root), "--since", "1h", "--output", str(tmp_path / "two")]
        )
        assert (code, read_watch(str(tmp_path / "two")).num_images) == (0, 39)
        assert "UTC: 39 of 40 images" in capsys.readouterr().out
        few = photographs(tmp_path / "few", 4, seed=3)
        assert main(["--images", str(few), "--registry", str(registry.root), "--output", str(tmp_path / "three")]) == 4
        assert "result: too few images to tell: 4 images are compared; " in capsys.readouterr().out
        (folder / PROFILE_FILE).write_bytes(profile.to_bytes()[:-9])
        assert main(["--images", str(new), "--registry", str(registry.root)]) == 2
        assert "profile.npz: is truncated or damaged" in capsys.readouterr().err
    finally:
        (folder / PROFILE_FILE).unlink()


def write_profile(folder: Path, rows: Rows) -> Profile:
    from trainer.profile.columns import measures_of
    from trainer.saved_model.inference import read_label_map

    made = Profile(
        model_digest=model_digest(str(folder)),
        data_digest="",
        measures=measures_of(read_label_map(str(folder))),
        rows=rows,
    )
    (folder / PROFILE_FILE).write_bytes(made.to_bytes())
    assert len(read_profile(str(folder / PROFILE_FILE)).rows) == len(rows)
    return made


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "IMAGES"], "v0001: has no profile.npz, which promotions write since"),
        (["--images", "EMPTY"], "no image there"),
        (["--images", "IMAGES/none"], "no such image"),
        (["--images", "IMAGES", "--model", "previous"], "--model previous: "),
        (["--images", "IMAGES", "--registry", "gone"], "--registry gone: no such folder, so no champion"),
        (["--images", "IMAGES", "--since", "2100-01-01"], "is in the future"),
        (["--images", "IMAGES", "--since", "1m"], "none of the 3 images in"),
        (["--images", "IMAGES", "--alpha", "2"], "--alpha 2.0: use a probability"),
        (["--images", "IMAGES", "--permutations", "9"], "--permutations 9: p can't fall to 0.01; use 100 or more"),
        (["--images", "IMAGES", "--label", "0"], "--label 0: use 1 or more"),
        (["--images", "IMAGES", "--num-workers", "0"], "--num-workers 0: use 1 or more"),
        (["--images", "IMAGES", "--val-annotations", "x.json"], "give --val-images, too"),
        (["--images", "IMAGES", "--coco-dir", "x", "--val-images", "y"], "given together with --val-images"),
        (
            ["--images", "IMAGES", "--coco-dir", "gone"],
            "gone/annotations/instances_val2017.json: no such annotation file",
        ),
    ],
)
def test_bad_input_is_one_line(
    registry: LocalRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    images = write_images(tmp_path / "images", 3, bad=False)
    for path in images.rglob("*.jpg"):
        os.utime(path, (1e9, 1e9))
    (tmp_path / "empty").mkdir()
    words = [word.replace("IMAGES", str(images)).replace("EMPTY", str(tmp_path / "empty")) for word in words]
    place: Any = [] if "--registry" in words else ["--registry", str(registry.root)]
    assert main([*words, *place, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
