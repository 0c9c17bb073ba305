"""`centernet watch`: false alarms over random splits of the same images, and how often changes are found.

    export OPENBLAS_NUM_THREADS=1                             the matrices are small: more threads wait for each other
    python -m benchmarks.watch --model runs/latest/saved_model                        generated images
    python -m benchmarks.watch --model DIR --coco-dir /data/coco --profile-images 100 --sizes 50 100 250

Each image is scored once as it is and once per change, by the code of the command. Then rows are drawn: a profile and,
of other images, the new ones, without replacement, because an image drawn twice would be its own neighbour. A draw
counts as an alarm if p is at most alpha. Scores are kept in --work, so that a second call draws at once.

blur                 Gaussian, sigma 1 % of the longer side
darker light         all pixels times 0.6
zoom                 the middle 70 % of each side
another camera       red times 1.12, blue times 0.88, gamma 1.15
a class gone missing only images without the data's first class
a new kind of object a hatched hexagon, a quarter of the shorter side, in 30 % of the images; and in every image
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotations import CocoAnnotations, load_annotations
from trainer.profile.columns import measures_of
from trainer.profile.rows import Rows
from trainer.watch.compare import compare

LONGER_SIDE = 640
"""Larger images are shrunk first: scoring them would take longer and say the same."""
GAMMA, GAINS = 1.15, (1.12, 1.0, 0.88)
NEW_OBJECT = 0.3
ALPHA = 0.01


def blur(pixels: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """As a lens out of focus."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 0.01 * max(pixels.shape)))


def darker(pixels: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Less light."""
    return (pixels * 0.6).round().astype(np.uint8)


def zoom(pixels: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """A longer lens, at the same resolution."""
    height, width = pixels.shape[:2]
    top, left = round(0.15 * height), round(0.15 * width)
    middle = pixels[top : height - top, left : width - left]
    return np.asarray(cv2.resize(middle, (width, height), interpolation=cv2.INTER_LINEAR))


def other_camera(pixels: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Other gains and another curve; RGB."""
    return (((pixels / 255.0) ** GAMMA * GAINS).clip(0, 1) * 255).round().astype(np.uint8)


def some_new_objects(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """In some of the images."""
    return new_object(pixels, rng) if rng.random() < NEW_OBJECT else pixels


def new_object(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Of no class that the model knows."""
    height, width = pixels.shape[:2]
    radius = min(height, width) / 8
    centre = rng.uniform([radius, radius], [width - radius, height - radius])
    angles = rng.uniform(0, np.pi) + np.arange(6) * np.pi / 3
    corners = (centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1)).round().astype(np.int32)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [corners], 255)
    y, x = np.mgrid[:height, :width]
    hatched = np.where(((x + y) // max(2, round(radius / 4)) % 2)[..., None] == 0, (200, 40, 200), (90, 220, 220))
    return np.where(mask[..., None] > 0, hatched, pixels).astype(np.uint8)


CHANGES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "blur": blur,
    "darker light": darker,
    "zoom": zoom,
    "another camera": other_camera,
    "a new kind of object": some_new_objects,
    "the same in every image": new_object,
}
MISSING = "a class gone missing"


def write_variants(images: Sequence[Path], folder: Path, changed_images: int) -> None:
    """The images as they are, and the first of them changed, all encoded in the same way."""
    for name, change in {"as they are": None, **CHANGES}.items():
        target = folder / name.replace(" ", "-")
        if target.exists():
            continue
        partial = target.with_suffix(".partial")
        partial.mkdir(parents=True, exist_ok=True)
        for i, path in enumerate(images if change is None else images[:changed_images]):
            pixels = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            if pixels is None:
                raise InputError(f"{path}: not an image that OpenCV reads")
            if (factor := LONGER_SIDE / max(pixels.shape)) < 1:
                pixels = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            rgb = np.asarray(pixels)[..., ::-1]
            changed = rgb if change is None else change(rgb, np.random.default_rng(i))
            cv2.imwrite(str(partial / f"{i:05d}.jpg"), changed[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        partial.rename(target)


def scored(model: str, folder: Path) -> dict[str, Rows]:
    """Statistics by variant."""
    from trainer.saved_model.inference import read_label_map
    from trainer.scoring.results import read_rows
    from trainer.scoring.run import score

    measures = measures_of(read_label_map(model))
    found = {}
    for name in ("as they are", *CHANGES):
        place = name.replace(" ", "-")
        score(
            model=model,
            images=str(folder / place),
            output=str(folder / "scores" / place),
            form="jsonl",
            threshold=0.05,
            measures=measures,
        )
        found[name] = read_rows(str(folder / "scores" / place))
    return found


def p_value(before: Rows, now: Rows, permutations: int) -> float:
    """The p-value over all statistics in one draw."""
    features = (before.features, now.features) if now.features.shape[1] else None
    return compare(before.values, now.values, features, permutations=permutations, seed=0).p


def false_alarms(rows: Rows, flags: argparse.Namespace, size: int) -> int:
    """Alarms over random splits of the same images."""
    alarms = 0
    for seed in range(flags.splits):
        order = np.random.default_rng([1, seed]).permutation(len(rows))
        before, now = order[: flags.profile_images], order[flags.profile_images :][:size]
        alarms += p_value(rows.take(before), rows.take(now), flags.permutations) <= ALPHA
    return alarms


def power(rows: dict[str, Rows], name: str, without: np.ndarray, flags: argparse.Namespace, size: int) -> float | None:
    """Share of draws that are alarms; None if there are not enough images."""
    plain, changed, hits = rows["as they are"], rows.get(name, rows["as they are"]), 0
    pool = np.flatnonzero(without) if name == MISSING else np.arange(len(changed))
    if len(pool) < size or len(plain) < size + flags.profile_images:
        return None
    for seed in range(flags.draws):
        rng = np.random.default_rng([2, seed])
        new = rng.choice(pool, size, replace=False)
        before = rng.permutation(np.setdiff1d(np.arange(len(plain)), new))[: flags.profile_images]
        hits += p_value(plain.take(before), changed.take(new), flags.permutations) <= ALPHA
    return hits / flags.draws


def without_first_class(coco: CocoAnnotations) -> tuple[np.ndarray, str]:
    """([N] images without an object of the first class, its name)."""
    number, name = coco.categories[0]
    having = set(coco.annotation_image_ids[coco.annotation_category_ids == number].tolist())
    return np.array([image not in having for image in coco.image_ids.tolist()]), name


def data(flags: argparse.Namespace, work: Path) -> tuple[list[Path], np.ndarray, str]:
    """(images, which lack the first class, its name)."""
    from pipeline.graph.layouts import find_layout
    from pipeline.local.demo_data import DemoData, generate

    folder = flags.coco_dir
    if not folder:
        count = flags.generated
        folder = str(generate(work / "data", DemoData(train_images=1, val_images=count, seed=flags.seed)))
    found = find_layout(folder, lambda path: Path(path).exists(), splits=False)
    images: list[Path] = []
    lacking, name = [], ""
    for split in ("train", "val") if flags.coco_dir else ("val",):
        coco = load_annotations(found[f"{split}_annotations"])
        images += [Path(found[f"{split}_images"]) / file for file in coco.file_names]
        without, name = without_first_class(coco)
        lacking.append(without)
    return images, np.concatenate(lacking), name


def parser() -> Parser:
    """The parser of the command."""
    made = Parser(
        prog="python -m benchmarks.watch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--model", required=True, metavar="DIR", help="SavedModel folder")
    made.add_argument("--coco-dir", default="", metavar="DIR", help="data set to use instead of generated images")
    made.add_argument("--work", default="watch-benchmark", metavar="DIR", help="default: %(default)s")
    made.add_argument("--generated", type=int, default=1300, help="number of generated images (default: %(default)s)")
    made.add_argument("--changed", type=int, default=600, help="images that are changed (default: %(default)s)")
    made.add_argument("--seed", type=int, default=1000, help="of the generated images (default: %(default)s)")
    made.add_argument("--profile-images", type=int, default=300, help="default: %(default)s")
    made.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 500], help="new images (default: 50 100 500)")
    made.add_argument("--splits", type=int, default=1000, help="for false alarms, at each size (default: %(default)s)")
    made.add_argument("--draws", type=int, default=100, help="for power, at each size (default: %(default)s)")
    made.add_argument("--permutations", type=int, default=999, help="default: %(default)s")
    return made


def _call(flags: argparse.Namespace) -> None:
    work = Path(flags.work)
    images, without, name = data(flags, work)
    write_variants(images, work, flags.changed)
    rows = scored(flags.model, work)
    if len(rows["as they are"]) != len(images):
        raise InputError(f"{work}: not every image could be scored; see {work}/scores/*/rejects-*")
    print(
        f"{len(images)} images ({int(without.sum())} without {name}), profile of {flags.profile_images}, "
        f"alpha {ALPHA}, {flags.permutations} permutations"
    )
    print(f"{'':<28}" + "".join(f"{size:>8}" for size in flags.sizes))
    started = time.process_time()
    alarms = [false_alarms(rows["as they are"], flags, size) for size in flags.sizes]
    print(f"{'false alarms':<28}" + "".join(f"{count / flags.splits:>8.1%}" for count in alarms), flush=True)
    for change in (*CHANGES, MISSING):
        found = [power(rows, change, without, flags, size) for size in flags.sizes]
        shown = ["–" if share is None else f"{share:.0%}" for share in found]
        print(f"{change:<28}" + "".join(f"{text:>8}" for text in shown), flush=True)
    print(f"{time.process_time() - started:.0f} CPU s for the tests")


if __name__ == "__main__":
    sys.exit(run(parser(), None, _call))
