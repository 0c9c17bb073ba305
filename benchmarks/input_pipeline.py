"""Images per second and core of the training input: ours, Model Garden's with the reference recipe, and bare decoding.

    python -m benchmarks.input_pipeline
    python -m benchmarks.input_pipeline --image-folder photos --images 64 --repeats 9

The process is pinned to one core, CPU seconds are counted instead of wall time, and the sides take turns in one run.
Ours reads records of 512 x 512 views and returns uint8 images with padded targets. Model Garden's parser reads the
original images and crops, flips, changes colours, scales and normalises them; it computes centre targets later, in its
training step, which is not counted here. Flip, colours and normalisation, which ours leaves to the device, are also
timed on this core.

tf.data adds to its buffers during the first couple of hundred batches, and the kernel clears that memory. A training
of thousands of batches pays for it once, so ours first reads --warm-up batches, whose rate is a row of its own.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from beam_preprocess.base.command import Parser, run

VIEWS = 8
OURS = "ours"
CLASSES = 80


def write_examples(path: Path, images: Path, annotations: Path) -> None:
    """Writes the original images as Model Garden's decoder reads them: tf.train.Example with normalised boxes."""
    import tensorflow as tf

    def feature(**values: list[Any]) -> tf.train.Feature:
        ((kind, value),) = values.items()
        message = {"bytes": tf.train.BytesList, "int64": tf.train.Int64List, "float": tf.train.FloatList}[kind]
        return tf.train.Feature(**{f"{kind}_list": message(value=value)})

    data = json.loads(annotations.read_text())
    with tf.io.TFRecordWriter(str(path)) as writer:
        for image in data["images"]:
            height, width = image["height"], image["width"]
            found = [a for a in data["annotations"] if a["image_id"] == image["id"]]
            boxes = [a["bbox"] for a in found]
            features = {
                "image/encoded": feature(bytes=[(images / image["file_name"]).read_bytes()]),
                "image/height": feature(int64=[height]),
                "image/width": feature(int64=[width]),
                "image/source_id": feature(bytes=[str(image["id"]).encode()]),
                "image/object/bbox/xmin": feature(float=[x / width for x, _, _, _ in boxes]),
                "image/object/bbox/xmax": feature(float=[min((x + w) / width, 1.0) for x, _, w, _ in boxes]),
                "image/object/bbox/ymin": feature(float=[y / height for _, y, _, _ in boxes]),
                "image/object/bbox/ymax": feature(float=[min((y + h) / height, 1.0) for _, y, _, h in boxes]),
                "image/object/class/label": feature(int64=[a["category_id"] for a in found]),
                "image/object/area": feature(float=[w * h for _, _, w, h in boxes]),
                "image/object/is_crowd": feature(int64=[0] * len(boxes)),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def model_garden(examples: Path, images: int, batch: int) -> Any:
    """The input of its own task, with the settings of the published GPU configuration."""
    from official.projects.centernet.configs import centernet
    from official.projects.centernet.tasks.centernet import CenterNetTask

    config = centernet.CenterNetTask()
    config.model.input_size = [512, 512, 3]
    data = config.train_data
    data.input_path, data.global_batch_size, data.dtype = str(examples), batch, "float16"
    # Its default of 10,000 would only take memory: on both sides, all images are in the buffer.
    data.shuffle_buffer_size = images
    parser = data.parser
    parser.aug_rand_hflip = parser.aug_rand_hue = parser.aug_rand_brightness = True
    parser.aug_rand_contrast = parser.aug_rand_saturation = parser.odapi_augmentation = True
    parser.aug_scale_min, parser.aug_scale_max = 0.6, 1.3
    return CenterNetTask(config).build_inputs(data)


def settled() -> float:
    """CPU seconds of this process, read when all prefetch buffers are full and no thread works.

    The difference between two readings is the cost of the images taken in between.
    """
    quiet, before = 0, time.process_time()
    while quiet < 3:
        time.sleep(0.15)
        now = time.process_time()
        quiet, before = (quiet + 1 if now - before < 0.003 else 0), now
    return before


def sides(folder: Path, flags: argparse.Namespace) -> dict[str, Callable[[], int]]:
    """By name: a call that processes some images and returns their number."""
    import tensorflow as tf

    from beam_preprocess.format import records, targets
    from beam_preprocess.format.config import PreprocessConfig
    from beam_preprocess.format.tfrecord import read_records
    from beam_preprocess.job.pipeline import preprocess
    from benchmarks.preprocess import annotate, make_data
    from trainer.config.experiment import Augmentation, RecordsConfig
    from trainer.config.networks import HOURGLASS_PIXELS
    from trainer.data import augmentation, input_pipeline
    from trainer.model import network
    from trainer.training.freed_memory import keep_freed_memory

    keep_freed_memory()  # as a training does
    if flags.image_folder:
        from PIL import Image

        images, found = Path(flags.image_folder), []
        for path in sorted(images.glob("*.[jJ][pP]*"))[: flags.images]:
            with Image.open(path) as picture:
                found.append((path.name, picture.height, picture.width))
        annotations, count = annotate(folder, found, flags.boxes), len(found)
    else:
        images, count = folder / "images", flags.images
        annotations = make_data(folder, count, (480, 640), count, flags.boxes)
    config = PreprocessConfig(train_views=VIEWS)
    print(f"preparing {count} images x {VIEWS} views", file=sys.stderr, flush=True)
    with contextlib.redirect_stdout(io.StringIO()):
        preprocess(
            images=str(images),
            annotations=str(annotations),
            split="train",
            output=str(folder / "records"),
            config=config,
        )
    write_examples(folder / "examples.tfrecord", images, annotations)

    manifest = input_pipeline.load_manifest(str(folder / "records"))
    reading = RecordsConfig(input_path=str(folder / "records"), global_batch_size=flags.batch)
    ours = iter(input_pipeline.train_dataset(reading, manifest))
    shipped = iter(model_garden(folder / "examples.tfrecord", count, flags.batch))
    codes = len(targets.code_table(config.map_size, config.heatmap_cutoff).values)
    jpegs = []
    for path in sorted((folder / "records").glob("*.tfrecord")):
        with path.open("rb") as file:
            jpegs += [records.decode(data, config.map_size, codes).image for data in read_records(file)]
    decoded = tf.data.Dataset.from_tensor_slices(jpegs).map(
        lambda data: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
    )
    # Our side takes an epoch of all views, so that it decodes the same bytes; Model Garden only has the originals.
    own_batches, shipped_batches = count * VIEWS // flags.batch, max(4 * count // flags.batch, 1)
    settings = Augmentation()

    @tf.function
    def on_device(image: tf.Tensor, labels: Any) -> tf.Tensor:
        image, _ = augmentation.augment(image, labels, settings, 0, tf.constant(1, tf.int64), 128)
        return network.normalize(image, HOURGLASS_PIXELS)

    kept = next(ours)

    def take(iterator: Any, batches: int) -> int:
        for _ in range(batches):
            next(iterator)
        return batches * flags.batch

    def decode_all() -> int:
        return int(decoded.reduce(0, lambda seen, image: seen + tf.minimum(tf.shape(image)[0], 1)))

    def augment_some() -> int:
        for _ in range(8):
            on_device(*kept)
        return 8 * flags.batch

    size = sum(map(len, jpegs)) / len(jpegs) / 1e3
    print(
        f"{count} images, {count * VIEWS} views of 512 x 512 ({size:.0f} kB of JPEG each), "
        f"{flags.boxes} boxes per image, {CLASSES} classes, batch {flags.batch}"
    )
    return {
        OURS: lambda: take(ours, own_batches),
        "bare decoding of the same bytes": decode_all,
        "Model Garden's parser": lambda: take(shipped, shipped_batches),
        "flip, colours, normalisation (ours, on the device)": augment_some,
    }


def parser() -> Parser:
    """The parser of the command."""
    made = Parser(prog="python -m benchmarks.input_pipeline", description=__doc__)
    made.add_argument("--images", type=int, default=64, help="number of images (default: %(default)s)")
    made.add_argument("--image-folder", metavar="DIR", help="JPEGs to use instead of generated ones of 640 x 480")
    made.add_argument("--boxes", type=int, default=7, help="boxes per image (default: %(default)s, as in COCO)")
    made.add_argument("--batch", type=int, default=16, help="images per batch (default: %(default)s)")
    made.add_argument("--warm-up", type=int, default=256, help="batches of ours before the rest (default: %(default)s)")
    made.add_argument("--repeats", type=int, default=7, help="repeats; the median counts (default: %(default)s)")
    return made


def _call(flags: argparse.Namespace) -> None:
    """Prints images per CPU second of each side, and the two ratios."""
    with tempfile.TemporaryDirectory() as folder:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        calls = sides(Path(folder), flags)
        rates: dict[str, list[float]] = {name: [] for name in calls}
        growing, read = [], 0
        while read < flags.warm_up * flags.batch:
            start = settled()
            images = calls[OURS]()
            growing.append(images / (settled() - start))
            read += images
        for repeat in range(-1, flags.repeats):
            print(f"repeat {repeat + 1} of {flags.repeats} (0: warm-up)", file=sys.stderr, flush=True)
            for name, call in calls.items():
                start = settled()
                images = call()
                if repeat >= 0:
                    rates[name].append(images / (settled() - start))
    print(f"images per CPU second on one core, median of {flags.repeats} (lowest, highest)")
    for name, values in rates.items():
        print(f"{name:<52}{statistics.median(values):>8.0f}  ({min(values):.0f}, {max(values):.0f})")
    if growing:
        name = f"{OURS}, in the {flags.warm_up} batches before"
        print(f"{name:<52}{statistics.median(growing):>8.0f}  ({min(growing):.0f}, {max(growing):.0f})")
    own, decode, shipped, _ = rates.values()

    def ratio(others: list[float]) -> float:
        return statistics.median(a / b for a, b in zip(own, others, strict=True))

    print(f"ours / Model Garden's parser  {ratio(shipped):8.1f} x   (goal 10)")
    print(f"ours / bare decoding          {ratio(decode):8.0%}     (goal 80 %)")


if __name__ == "__main__":
    sys.exit(run(parser(), None, _call))
