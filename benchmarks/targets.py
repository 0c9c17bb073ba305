"""Microseconds per image for centre targets: ours (numpy, sparse) against Model Garden's op, on the same boxes.

python -m benchmarks.targets
python -m benchmarks.targets --boxes 20 --classes 90 --repeats 50
python -m benchmarks.targets --error                                what the cut-off changes, and stored bytes
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from beam_preprocess.base.command import Parser, run
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.geometry import letterbox
from beam_preprocess.format.records import Record, encode
from beam_preprocess.format.targets import assign_targets, code_table, dense_heatmap


def boxes_of_an_image(rng: np.random.Generator, count: int, side: int) -> np.ndarray:
    """float32 [count, 4]: sides spread like COCO's, from a few pixels to most of the image."""
    centre = rng.uniform(0, side, (count, 2))
    half = np.exp(rng.uniform(np.log(4), np.log(side * 0.7), (count, 2))) / 2
    return np.clip(np.concatenate([centre - half, centre + half], axis=1), 0, side).astype(np.float32)


def microseconds(call: Callable[[], object], repeats: int) -> float:
    """Median of the calls, after a warm-up."""
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def focal_loss(heatmap: np.ndarray, predicted: np.ndarray) -> float:
    """Equation 1 of "Objects as Points", alpha 2, beta 4, summed."""
    centre = heatmap == 1
    positive = (1 - predicted[centre]) ** 2 * -np.log(predicted[centre])
    negative = (1 - heatmap[~centre]) ** 4 * predicted[~centre] ** 2 * -np.log1p(-predicted[~centre])
    return float(positive.sum() + negative.sum())


def cut_off_error(boxes: int, images: int, side: int, classes: int) -> None:
    """The largest relative change of the focal loss due to the cut-off, by prediction state; and the targets' bytes."""
    config = PreprocessConfig(image_size=(side, side))
    map_size, cutoff = config.map_size, config.heatmap_cutoff
    codes = len(code_table(map_size, cutoff).values)
    worst = dict.fromkeys(("initial", "random", "trained", "perfect", "worst"), 0.0)
    stored_bytes = []
    for image in range(images):
        rng = np.random.default_rng(image)
        found = boxes_of_an_image(rng, boxes, side)
        labels, crowd = rng.integers(0, classes, boxes), np.zeros(boxes, bool)
        targets = assign_targets(found, labels, crowd, image_size=(side, side), stride=4, cutoff=cutoff)
        # In float64, a heatmap of this size has no value below this cut-off.
        whole = assign_targets(found, labels, crowd, image_size=(side, side), stride=4, cutoff=1e-38)
        stored = dense_heatmap(targets, map_size, classes, cutoff).astype(np.float64)
        full = dense_heatmap(whole, map_size, classes, 1e-38).astype(np.float64)
        perfect = np.where(full == 1, 1 - 1e-4, 1e-4)
        states = {
            "initial": np.full(full.shape, 0.1),
            "random": rng.uniform(1e-4, 1 - 1e-4, full.shape),
            "trained": np.clip(full, 1e-4, 1 - 1e-4),
            "perfect": perfect,
            "worst": np.where((stored == 0) & (full > 0), 1 - 1e-4, perfect),
        }
        for name, predicted in states.items():
            loss = focal_loss(full, predicted)
            worst[name] = max(worst[name], abs(focal_loss(stored, predicted) - loss) / loss)
        record = Record(
            image=b"",
            image_id=0,
            image_size=(side, side),
            view_number=0,
            view=letterbox((side, side), (side, side)),
            targets=targets,
        )
        stored_bytes.append(len(encode(record, map_size, codes)))
    print(f"{images} images with {boxes} boxes each; {statistics.mean(stored_bytes):.0f} bytes per record without JPEG")
    for name, change in worst.items():
        print(f"focal loss, predictions {name:<10} relative change at most {change:.2e}")


def parser() -> Parser:
    """The parser of the command."""
    made = Parser(prog="python -m benchmarks.targets", description=__doc__)
    made.add_argument("--boxes", type=int, nargs="+", default=[7, 20, 100], help="boxes per image (default: 7 20 100)")
    made.add_argument("--classes", type=int, default=90, help="number of classes (default: %(default)s)")
    made.add_argument("--image-size", type=int, default=512, help="side of the input in pixels (default: %(default)s)")
    made.add_argument("--repeats", type=int, default=30, help="timed calls of each side (default: %(default)s)")
    made.add_argument("--error", action="store_true", help="measure what the cut-off changes instead")
    made.add_argument("--error-images", type=int, default=20, help="images for --error (default: %(default)s)")
    return made


def _call(flags: argparse.Namespace) -> None:
    """Prints one line per number of boxes."""
    if flags.error:
        for count in flags.boxes:
            cut_off_error(count, flags.error_images, flags.image_size, flags.classes)
        return

    import tensorflow as tf
    from official.projects.centernet.ops import target_assigner

    side, cutoff = flags.image_size, PreprocessConfig().heatmap_cutoff
    print(f"{side // 4} x {side // 4} x {flags.classes}, median of {flags.repeats} calls, microseconds per image")
    print(f"{'boxes':>6}{'ours':>10}{'op, eager':>12}{'op, graph':>12}{'ratio to the faster':>22}")
    for count in flags.boxes:
        rng = np.random.default_rng(count)
        boxes, classes = boxes_of_an_image(rng, count, side), rng.integers(0, flags.classes, count)
        crowd = np.zeros(count, bool)
        labels = {
            "boxes": tf.constant(boxes),
            "classes": tf.constant(classes, tf.int32),
            "groundtruths": {"num_detections": tf.constant(count)},
        }

        def op(labels: dict = labels, count: int = count) -> dict:
            return target_assigner.assign_centernet_targets(
                labels=labels,
                output_size=[side // 4, side // 4],
                input_size=[side, side],
                num_classes=flags.classes,
                max_num_instances=count,
                gaussian_iou=0.7,
            )

        def ours(boxes: np.ndarray = boxes, classes: np.ndarray = classes, crowd: np.ndarray = crowd) -> object:
            return assign_targets(boxes, classes, crowd, image_size=(side, side), stride=4, cutoff=cutoff)

        graph = tf.function(op)
        dense = dense_heatmap(ours(), (side // 4, side // 4), flags.classes, cutoff)
        error = np.abs(dense - graph()["ct_heatmaps"].numpy())[dense > 0].max()
        if error > 1e-5:
            raise RuntimeError(f"the two sides differ by {error}: they don't compute the same")
        own, eager, compiled = (microseconds(call, flags.repeats) for call in (ours, op, graph))
        ratio = min(eager, compiled) / own
        print(f"{count:>6}{own:>10.0f}{eager:>12.0f}{compiled:>12.0f}{ratio:>20.0f} x", flush=True)


if __name__ == "__main__":
    sys.exit(run(parser(), None, _call))
