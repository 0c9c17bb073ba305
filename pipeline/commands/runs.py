"""`centernet runs`: the runs on this machine."""

import argparse
from collections.abc import Sequence

from beam_preprocess.base import command

EXAMPLES = (
    "centernet runs prune --keep 5 --dry-run",
    "centernet runs prune --keep 5",
    "centernet runs prune --keep 20 --runs-dir /data/runs",
)
NOTES = """The latest run is kept, and so is every run that may still be running, or whose results are used by a run
that is kept or by a link in a registry. Published versions are copies: `centernet registry prune` removes those.

exit codes: 0 done, 2 bad input or usage"""


def parser() -> command.Parser:
    """The flags of `centernet runs` and its verb."""
    made = command.parser("runs", "Remove old runs on this machine.", examples=EXAMPLES, notes=NOTES)
    verbs = made.add_subparsers(dest="verb", required=True, metavar="{prune}")
    text = "remove all runs but the newest N"
    prune = verbs.add_parser("prune", help=text, description=f"{text[0].upper()}{text[1:]}.")
    prune.add_argument("--keep", type=int, required=True, metavar="N", help="number of newest runs to keep")
    prune.add_argument("--runs-dir", default="runs", metavar="DIR", help="parent of the runs (default: %(default)s)")
    prune.add_argument("--dry-run", action="store_true", help="print what would be removed")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """`centernet runs`; see its help for exit codes."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    from pathlib import Path

    from pipeline.local import prune

    runs = Path(flags.runs_dir)
    entries = prune.plan(runs, keep=flags.keep)
    if not flags.dry_run and (left := prune.sweep(runs)):
        print(f"removed the rest of {left} interrupted removal{'' if left == 1 else 's'}")
    done = "would be removed" if flags.dry_run else "removed"
    gone = [entry for entry in entries if not entry.kept]
    for entry in entries:
        if not entry.kept and not flags.dry_run:
            prune.remove(entry.path)
        fate = f"stays: {entry.kept}" if entry.kept else done
        print(f"{entry.path.name:<20}  {entry.size / 1e6:10.1f} MB  {fate}", flush=True)
    freed = sum(entry.size for entry in gone)
    print(f"{len(gone)} run{'' if len(gone) == 1 else 's'} {done}, {freed / 1e6:.1f} MB")
