"""Which training images are held out of the training, and which ones it is monitored on while it runs.

The records of a shard are ordered by a hash of the image id. So the first ones are a random choice, the same in every
view, in every run on the same data, and whatever the seed is.
"""

from dataclasses import dataclass

from beam_preprocess.base.errors import InputError
from beam_preprocess.format.manifest import Manifest

MONITORED = 64
"""Number of training images that a training without a hold-out is monitored on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holdout:
    """The choice for one training."""

    held_out: int = 0
    """Images that are never trained on."""
    monitored: int = 0
    """Images whose loss and AP are measured while training: those held out, or else some that are trained on; 0 for a
    training that is monitored on validation records."""

    @property
    def kind(self) -> str:
        """What the numbers are measured on, for people."""
        if self.held_out:
            return "held-out training images"
        return "training images" if self.monitored else "validation images"


def choose(manifest: Manifest, fraction: float, where: str) -> Holdout:
    """The hold-out of a training.

    Args:
      manifest: of the training records.
      fraction: `trainer.holdout_fraction`.
      where: folder of the records, for messages.

    Raises:
      InputError: the fraction is less than one image, or the views hold different images.
    """
    if not fraction:
        return Holdout(monitored=min(MONITORED, manifest.images))
    held_out = int(manifest.images * fraction + 1e-9)  # 100 x 0.29 is 28.999…
    if not held_out:
        raise InputError(
            f"trainer.holdout_fraction: {fraction} of the {manifest.images} images in {where} is less than one; raise "
            "it, or set 0"
        )
    if any(_records(manifest, view) != _records(manifest, 0) for view in range(manifest.views)):
        raise InputError(f"{where}: a shard's views hold different numbers of images; run the preprocessing again")
    return Holdout(held_out=held_out, monitored=held_out)


def first_records(manifest: Manifest, images: int) -> list[int]:
    """How many records at the start of each shard, in shard order, so that they are `images` in all.

    Each shard gives its share, rounded so that the sum is exact.
    """
    counts, before = [], 0
    for records in _records(manifest, 0):
        counts.append((before + records) * images // manifest.images - before * images // manifest.images)
        before += records
    return counts


def _records(manifest: Manifest, view: int) -> list[int]:
    ordered = sorted(manifest.shards, key=lambda shard: shard.shard)
    return [shard.records for shard in ordered if shard.view == view]
