"""Seconds for the data digest of a bucket: one listing, without reading any image.

    python -m benchmarks.listing                    118,287 objects, as many as COCO train2017
    python -m benchmarks.listing --images 5000

The bucket is gcp-storage-emulator in this process, which returns the whole listing in one response. A real bucket
returns pages of 1,000, so add the network's time per page, which was not measured.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from beam_preprocess.base.command import Parser, run
from beam_preprocess.format.sources import data_digest, list_images
from tests.gcs_emulator import gcs_emulator


def parser() -> Parser:
    """The parser of the command."""
    made = Parser(prog="python -m benchmarks.listing", description=__doc__)
    made.add_argument("--images", type=int, default=118_287, help="number of objects (default: %(default)s)")
    return made


def _call(flags: argparse.Namespace) -> None:
    """Prints the seconds for the listing and for the digest."""
    names = [f"{i:012d}.jpg" for i in range(flags.images)]
    with tempfile.TemporaryDirectory() as folder, gcs_emulator(Path(folder)) as gcs, gcs.in_this_process() as fs:
        fs.mkdir("my-data")
        print(f"filling the bucket with {flags.images} objects", flush=True)
        for start in range(0, len(names), 1000):
            gcs.put("my-data", {f"images/{name}": name.encode() for name in names[start : start + 1000]})
        gcs.requests.clear()
        began = time.perf_counter()
        files = list_images("gs://my-data/images", names, "annotations.json")
        listed = time.perf_counter()
        data_digest("", names, files)
        done = time.perf_counter()
        print(f"list_images {listed - began:.1f} s, data_digest {done - listed:.1f} s, {len(gcs.requests)} requests")
        if len(files) != len(names) or gcs.downloads():
            raise RuntimeError(f"{len(files)} of {len(names)} listed, {len(gcs.downloads())} images read")


if __name__ == "__main__":
    sys.exit(run(parser(), None, _call))
