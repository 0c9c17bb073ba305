"""Scoring many images against a bare loop over the model's signature on the same images; its memory by their number.

    python -m benchmarks.score --model registry/versions/v0001                      speed, CPU seconds
    python -m benchmarks.score --model DIR --image-folder photos                    on your own JPEGs
    python -m benchmarks.score --memory 1000 10000 50000                            peak memory (32 x 32 pixels)

The bare loop reads each batch's files and calls the signature, with TensorFlow's own threads. The other side is a
whole run: listing, plan, digest, detections as files, manifest, in three ways to use the cores. Each side runs in a
process of its own, in turns; importing TensorFlow and Beam and loading the model are outside both. On a busy machine,
the ratio of CPU seconds is more stable than that of wall time. Memory is measured with a model without a network,
which decodes images and returns 100 fixed detections for each: what grows with the number of images is not the
network's.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.errors import InputError

WAYS = {"a thread per core": (0, 1), "1 thread": (1, 1), "2 processes": (1, 2)}
"""Name to number of threads (0: one per core) and of processes, whose start is included."""

_BARE = """
import json, sys, time
from pathlib import Path
import tensorflow as tf
from trainer.saved_model.inference import load_signature
model, images, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
signature = load_signature(model)
paths = sorted(Path(images).glob("*.jpg"))
def batch(some):
    outputs = signature(image_bytes=tf.constant([path.read_bytes() for path in some]))
    return {name: value.numpy() for name, value in outputs.items()}
batch(paths[:size])
wall, cpu = time.perf_counter(), time.process_time()
for start in range(0, len(paths), size):
    batch(paths[start:start + size])
print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))
"""
_OURS = """
import json, resource, sys, time
from trainer.registry.digest import model_digest
from trainer.scoring.fixed_batch import PLACEHOLDER, load
from trainer.scoring.run import score
model, images, output = sys.argv[1:4]
size, threads, workers = map(int, sys.argv[4:])
def cpu_seconds():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)
load(model, model_digest(model), size)([PLACEHOLDER] * size)
wall, cpu = time.perf_counter(), cpu_seconds()
score(model=model, images=images, output=output, batch_size=size, num_threads=threads or None, num_workers=workers)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps([time.perf_counter() - wall, cpu_seconds() - cpu, peak]))
"""


def make_images(folder: Path, count: int, size: tuple[int, int], distinct: int = 50) -> Path:
    """JPEGs of smooth noise: hard links to a few distinct files."""
    from benchmarks.preprocess import make_data

    make_data(folder, count, size, min(count, distinct), boxes=0)
    return folder / "images"


_MODEL = """
import json, sys
from pathlib import Path
import tensorflow as tf
from trainer.saved_model.layout import LABEL_MAP
class Fixed(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes):
        def size(encoded):
            return tf.shape(tf.io.decode_image(encoded, channels=3, expand_animations=False))[:2]
        def each(values):
            return tf.tile(values[None], [tf.size(image_bytes), *[1] * values.shape.rank])
        places = tf.linspace(0.0, 0.4, 100)
        return {
            "image_size": tf.map_fn(size, image_bytes, fn_output_signature=tf.int32),
            "detection_boxes": each(tf.stack([places, places, places + 0.5, places + 0.5], axis=1)),
            "detection_scores": each(tf.linspace(1.0, 0.01, 100)),
            "detection_classes": each(tf.range(100) % 3 + 1),
        }
model = Fixed()
tf.saved_model.save(model, sys.argv[1], signatures={"serving_default": model.serve})
categories = [{"index": i, "id": i + 1, "name": f"class{i}"} for i in range(3)]
Path(sys.argv[1], LABEL_MAP).write_text(json.dumps({"categories": categories, "score_threshold": 0.5}))
print("[]")
"""


def measured(program: str, *words: object) -> list[float]:
    """What a program prints last, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def speed(flags: argparse.Namespace, folder: Path) -> None:
    """Both sides in turn; medians."""
    if not flags.model:
        raise InputError("--model: not given; give the folder of a SavedModel")
    if flags.image_folder:
        images, count = Path(flags.image_folder), len(list(Path(flags.image_folder).glob("*.jpg")))
    else:
        images, count = make_images(folder, flags.images, (480, 640)), flags.images
    sides: dict[str, list[list[float]]] = {name: [] for name in ("bare loop", *WAYS)}
    for repeat in range(flags.repeats):
        for name, runs in sides.items():
            if name in WAYS:
                output = folder / f"out-{name}-{repeat}"
                runs.append(measured(_OURS, flags.model, images, output, flags.batch_size, *WAYS[name]))
            else:
                runs.append(measured(_BARE, flags.model, images, flags.batch_size))
            print(f"repeat {repeat + 1}: {name}: wall {runs[-1][0]:.2f} s, CPU {runs[-1][1]:.2f} s", file=sys.stderr)
    wall, cpu = ({name: statistics.median(run[i] for run in runs) for name, runs in sides.items()} for i in (0, 1))
    print(f"{count} images, batches of {flags.batch_size}, median of {flags.repeats} runs; ratios to the bare loop")
    for name in sides:
        print(
            f"{name:<22}{count / wall[name]:8.1f} images/s {wall['bare loop'] / wall[name]:6.2f}"
            f"{1000 * cpu[name] / count:10.2f} CPU ms/image {cpu['bare loop'] / cpu[name]:6.2f}"
        )


def memory(flags: argparse.Namespace, folder: Path) -> None:
    """Peak resident memory of a whole run, each in a process of its own."""
    model = flags.model
    if not model:
        model = folder / "model"
        measured(_MODEL, model)
    print("images   peak MiB   seconds")
    for count in flags.memory:
        images = make_images(folder / str(count), count, (32, 32))
        start = time.perf_counter()
        _, _, peak = measured(_OURS, model, images, folder / f"out-{count}", flags.batch_size, 0, 1)
        print(f"{count:>6} {peak:>10.0f} {time.perf_counter() - start:>9.1f}", flush=True)


def parser() -> Parser:
    """The parser of the command."""
    made = Parser(prog="python -m benchmarks.score", description=__doc__)
    made.add_argument("--model", metavar="DIR", help="SavedModel folder; speed needs one")
    made.add_argument("--images", type=int, default=600, help="number of images (default: %(default)s)")
    made.add_argument("--image-folder", metavar="DIR", help="JPEGs to use instead of generated ones")
    made.add_argument("--batch-size", type=int, default=8, help="images per call (default: %(default)s)")
    made.add_argument("--repeats", type=int, default=3, help="repeats; the median counts (default: %(default)s)")
    made.add_argument("--memory", type=int, nargs="+", metavar="IMAGES", help="measure peak memory instead")
    return made


def _call(flags: argparse.Namespace) -> None:
    """Runs one of the two measurements."""
    with tempfile.TemporaryDirectory() as folder:
        (memory if flags.memory else speed)(flags, Path(folder))


if __name__ == "__main__":
    sys.exit(run(parser(), None, _call))
