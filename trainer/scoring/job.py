"""What every worker of a scoring job needs, and the names of the files that it writes."""

import re
from dataclasses import dataclass, field

from beam_preprocess.base.files import final_name
from trainer.scoring.manifest import Category, Run

_OURS = re.compile(r"(detections|images|rejects)-\d{5}-of-\d{5}\.jsonl?|statistics-\d{5}-of-\d{5}\.npz|manifest\.json")


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """The settings of one job."""

    run: Run
    output: str
    """Absolute path or URI of the folder for the results."""
    plan: str
    """URI of the plan file."""
    work: str
    """URI of the folder for the shards' result files."""
    categories: tuple[Category, ...]
    num_shards: int
    minimums: dict[int, float] = field(default_factory=dict)
    """Minimum score by category id."""

    def detections_name(self, shard: int) -> str:
        """COCO results (.json), or one line per image (.jsonl)."""
        ending = "json" if self.run.format == "coco" else "jsonl"
        return f"detections-{shard:05d}-of-{self.num_shards:05d}.{ending}"

    def images_name(self, shard: int) -> str:
        """Ids, names and sizes of the images, for COCO results."""
        return f"images-{shard:05d}-of-{self.num_shards:05d}.jsonl"

    def statistics_name(self, shard: int) -> str:
        """Statistics of the images, if the run measures them."""
        return f"statistics-{shard:05d}-of-{self.num_shards:05d}.npz"

    def rejects_name(self, shard: int) -> str:
        """Images without results, one line each."""
        return f"rejects-{shard:05d}-of-{self.num_shards:05d}.jsonl"

    def result_name(self, shard: int) -> str:
        """In the folder `work`: written last of a shard's files."""
        return f"result-{shard:05d}.json"


def is_ours(name: str) -> bool:
    """Whether a job may have written a file of this name into its output folder, or was killed while writing it."""
    return bool(_OURS.fullmatch(final_name(name)))
