"""Seconds for the data digest of a bucket: one listing, no image is read.

    python -m benchmarks.listing                    118,287 objects, as many as COCO train2017
    python -m benchmarks.listing --images 5000

The bucket is gcp-storage-emulator in this process, which gives the whole listing in one answer. A real bucket gives
pages of 1,000, so that the network's time for each page comes on top; that was not measured.
"""

import argparse
import tempfile
import time
from pathlib import Path

from beam_preprocess.dataset.sources import data_digest, list_images
from tests.gcs_emulator import gcs_emulator


def main() -> None:
    """Prints the seconds of listing and digest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118_287, help="how many (default 118,287)")
    flags = parser.parse_args()
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
            raise RuntimeError(f"{len(files)} of {len(names)} found, {len(gcs.downloads())} images read")


if __name__ == "__main__":
    main()
