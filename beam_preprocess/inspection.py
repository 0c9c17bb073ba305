"""`python -m beam_preprocess inspect DIR`: what a folder of records holds. No Beam, no TensorFlow."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.progress import Progress
from beam_preprocess.base.storage import file_system, refusals, refused
from beam_preprocess.flags import check_preview, parser
from beam_preprocess.format import manifest as manifests
from beam_preprocess.format.manifest import Manifest

BAR = 40
"""Characters of the longest bar."""
MOST_CLASSES = 40
"""Classes drawn unless --all is given."""

_EPILOG = """\
examples:
  python -m beam_preprocess inspect records/train
  python -m beam_preprocess inspect gs://bucket/records/train --verify
  python -m beam_preprocess inspect records/train --preview 8

exit codes: 0 ready (with --verify: and undamaged), 1 damaged, 2 no manifest: not ready, or no records
"""


def run(arguments: Sequence[str]) -> int:
    """Prints the description; returns the exit code."""
    command = parser("python -m beam_preprocess inspect", "Describes a folder of records.", _EPILOG)
    command.add_argument("folder", metavar="DIR", help="output folder of a run, a path or URI")
    command.add_argument("--all", action="store_true", help=f"draw every class, not only the {MOST_CLASSES} largest")
    command.add_argument("--verify", action="store_true", help="read every shard and compare its sha256")
    command.add_argument("--preview", type=int, metavar="N", help="draw N images into DIR/preview.jpg")
    command.add_argument("--json", action="store_true", help="print the manifest as it is")
    flags = command.parse_args(arguments)
    flags.folder = flags.folder.removesuffix(f"/{manifests.NAME}")
    check_preview(flags.preview)
    manifest = read_manifest(flags.folder)
    print(manifest.to_json() if flags.json else describe(manifest, None if flags.all else MOST_CLASSES))
    if flags.preview is not None:
        from beam_preprocess.preview import write_preview

        print(f"preview: {write_preview(flags.folder, manifest, flags.preview)}")
    if flags.verify:
        damaged = verify(flags.folder, manifest)
        for line in damaged:
            print(f"damaged: {line}")
        print(f"verified: {len(manifest.shards) - len(damaged)} of {len(manifest.shards)} shards are as written")
        return 1 if damaged else 0
    return 0


def read_manifest(folder: str) -> Manifest:
    """The manifest of a folder of records.

    Raises:
      InputError: there is none, or it can't be read.
    """
    path = f"{folder.rstrip('/')}/{manifests.NAME}"
    fs, place = file_system(path)
    try:
        text = fs.cat_file(place).decode()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{path}: no manifest, so no finished records are there; run `python -m beam_preprocess`"
        ) from error
    except refusals() as error:
        raise refused(path, error) from error
    return Manifest.from_json(text, path)


def verify(folder: str, manifest: Manifest) -> list[str]:
    """What is wrong with the shards: missing, or other bytes than the manifest says."""
    fs, root = file_system(folder)
    progress = Progress("verifying", total=len(manifest.shards), unit="shards")
    damaged = []
    for done, shard in enumerate(manifest.shards, start=1):
        try:
            data = fs.cat_file(f"{root.rstrip('/')}/{shard.name}")
        except FileNotFoundError:
            damaged.append(f"{shard.name} is missing")
            continue
        found = hashlib.sha256(data).hexdigest()
        if found != shard.sha256:
            damaged.append(f"{shard.name} has sha256 {found[:12]}, {len(data)} bytes; written were {shard.bytes}")
        progress.update(done, f"{len(damaged)} damaged so far")
    return damaged


def describe(manifest: Manifest, most_classes: int | None) -> str:
    """The manifest for people."""
    height, width = manifest.parameters["image_size"]
    total = sum(shard.bytes for shard in manifest.shards)
    records = sum(shard.records for shard in manifest.shards)
    lines = [
        f"split           {manifest.split}",
        f"images          {manifest.images} x {manifest.views} views of {height} x {width} (height x width), "
        f"stride {manifest.parameters['stride']}",
        f"objects         {manifest.objects}, and {manifest.crowds} crowd regions",
        f"files           {len(manifest.shards)} shards, {total / 1e6:.1f} MB, {total / max(records, 1):.0f} bytes "
        "a record",
        f"largest record  {manifest.max_cells} heatmap cells, {manifest.max_objects} objects",
        f"schema version  {manifest.schema_version}",
        f"data digest     {manifest.data_digest}",
        f"records digest  {manifest.records_digest}",
        f"parameters      {json.dumps(manifest.parameters)}",
        "",
        f"label map ({manifest.num_classes} heatmap channels): class <- category id, name",
        *(f"  {category.index:>5} <- {category.id:>5}  {category.name}" for category in manifest.categories),
        "",
        "objects by class",
        *_histogram(manifest.class_histogram, most_classes, largest_first=True),
        "",
        "objects by size (area of the box in original pixels: small < 32 x 32 <= medium < 96 x 96 <= large)",
        *_histogram(manifest.size_histogram, None),
        "",
        "rejected or repaired, by reason (listed in rejects-*.jsonl)",
        *(_histogram(manifest.rejects, None) or ["  nothing"]),
    ]
    return "\n".join(lines)


def _histogram(counts: Mapping[str, int], most: int | None, largest_first: bool = False) -> list[str]:
    """One line a name: count, share, bar."""
    names = sorted(counts, key=lambda name: -counts[name]) if largest_first else list(counts)
    shown = names[:most]
    total, longest = sum(counts.values()), max(counts.values(), default=0)
    indent = max((len(name) for name in shown), default=0)
    lines = [
        f"  {name:<{indent}} {counts[name]:>9} {counts[name] / max(total, 1):>6.1%} "
        + "#" * round(BAR * counts[name] / max(longest, 1))
        for name in shown
    ]
    if len(shown) < len(names):
        rest = sum(counts[name] for name in names[len(shown) :])
        lines.append(f"  ... and {len(names) - len(shown)} more classes with {rest} objects; --all draws them")
    return lines
