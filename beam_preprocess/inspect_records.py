"""`centernet inspect`: describes a folder of records."""

import argparse
from collections.abc import Sequence

from beam_preprocess.base import command
from beam_preprocess.flags import check_preview

MAX_CLASSES = 40
"""Maximum number of classes drawn, unless --all is given."""

EXAMPLES = (
    "centernet inspect records/train",
    "centernet inspect gs://bucket/records/train --verify",
    "centernet inspect records/train --preview 8",
)


def parser() -> command.Parser:
    """The command's parser."""
    parser = command.parser(
        "inspect",
        "Describe a folder of records.",
        examples=EXAMPLES,
        notes="exit codes: 0 ready (with --verify: and undamaged), 1 damaged, 2 bad input, or no finished records",
    )
    parser.add_argument("folder", metavar="DIR", help="output folder of `centernet preprocess`, a path or URI")
    parser.add_argument("--all", action="store_true", help=f"draw every class, not only the {MAX_CLASSES} largest")
    parser.add_argument("--verify", action="store_true", help="read every shard and compare its sha256")
    parser.add_argument("--preview", type=int, metavar="N", help="draw N images into DIR/preview.jpg")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> int:
    check_preview(flags.preview)

    from beam_preprocess.format import manifest as manifests  # imports NumPy
    from beam_preprocess.inspection.record_folder import damaged_shards, described, read_manifest

    folder = flags.folder.removesuffix(f"/{manifests.NAME}")  # what a shell completes
    manifest = read_manifest(folder)
    print(manifest.to_json() if flags.json else described(manifest, None if flags.all else MAX_CLASSES))
    if flags.preview is not None:
        from beam_preprocess.inspection.contact_sheet import write_contact_sheet  # imports OpenCV

        print(f"preview: {write_contact_sheet(folder, manifest, flags.preview)}")
    if not flags.verify:
        return 0
    damaged = damaged_shards(folder, manifest)
    for line in damaged:
        print(f"damaged: {line}")
    print(f"verified: {len(manifest.shards) - len(damaged)} of {len(manifest.shards)} shards are undamaged")
    return 1 if damaged else 0
