"""A folder of records: reads its manifest, describes it, and finds damaged shards. No Beam, no TensorFlow."""

import hashlib
import json
from collections.abc import Mapping

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.progress import Progress
from beam_preprocess.base.storage import file_system, reason, refusals, refused
from beam_preprocess.format import manifest as manifests
from beam_preprocess.format.manifest import Manifest

BAR = 40
"""Length of the longest bar, in characters."""


def read_manifest(folder: str) -> Manifest:
    """The manifest of a folder of records.

    Raises:
      InputError: there is no manifest, or it cannot be read.
    """
    path = f"{folder.rstrip('/')}/{manifests.NAME}"
    fs, place = file_system(path)
    try:
        text = fs.cat_file(place).decode()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{path}: no manifest, so the folder has no finished records; run `centernet preprocess`"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({reason(error)}); run the preprocessing again") from error
    except refusals() as error:
        raise refused(path, error) from error
    return Manifest.from_json(text, path)


def damaged_shards(folder: str, manifest: Manifest) -> list[str]:
    """One line per shard that is missing, unreadable, or differs from what the manifest recorded."""
    fs, root = file_system(folder)
    progress = Progress("verifying", total=len(manifest.shards), unit="shards")
    damaged = []
    for done, shard in enumerate(manifest.shards, start=1):
        try:
            data = fs.cat_file(f"{root.rstrip('/')}/{shard.name}")
        except FileNotFoundError:
            damaged.append(f"{shard.name} is missing")
            continue
        except refusals() as error:
            damaged.append(f"{shard.name} cannot be read ({reason(error)})")
            continue
        found = hashlib.sha256(data).hexdigest()
        if found != shard.sha256:
            damaged.append(
                f"{shard.name} has sha256 {found[:12]} and {len(data)} bytes; "
                f"the manifest has {shard.sha256[:12]} and {shard.bytes}"
            )
        progress.update(done, f"{len(damaged)} damaged so far")
    return damaged


def described(manifest: Manifest, max_classes: int | None) -> str:
    """The manifest as text for people; draws the `max_classes` largest classes, or all of them."""
    height, width = manifest.parameters["image_size"]
    total = sum(shard.bytes for shard in manifest.shards)
    records = sum(shard.records for shard in manifest.shards)
    lines = [
        f"split           {manifest.split}",
        f"images          {manifest.images} x {manifest.views} views of {height} x {width} (height x width), "
        f"stride {manifest.parameters['stride']}",
        f"objects         {manifest.objects}, and {manifest.crowds} crowd regions",
        f"files           {len(manifest.shards)} shards, {total / 1e6:.1f} MB, {total / max(records, 1):.0f} bytes "
        "per record",
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
        *_histogram(manifest.class_histogram, max_classes, largest_first=True),
        "",
        "objects by size (area of the box in original pixels: small < 32 x 32 <= medium < 96 x 96 <= large)",
        *_histogram(manifest.size_histogram, None),
        "",
        "rejected or repaired, by reason (listed in rejects-*.jsonl)",
        *(_histogram(manifest.rejects, None) or ["  nothing"]),
    ]
    return "\n".join(lines)


def _histogram(counts: Mapping[str, int], max_lines: int | None, largest_first: bool = False) -> list[str]:
    """One line per name: count, fraction, bar."""
    names = sorted(counts, key=lambda name: -counts[name]) if largest_first else list(counts)
    shown = names[:max_lines]
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
