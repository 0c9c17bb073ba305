"""The `export:` section of a run's configuration."""

from dataclasses import dataclass

from beam_preprocess.base.errors import InputError

BOUNDS = ("parity_images", "max_score_delta", "max_box_delta", "max_ap_delta", "max_unmatched")
"""Keys that judge an export and change nothing about it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportConfig:
    """What the SavedModel serves, and how closely it must agree with its checkpoint."""

    score_threshold: float = 0.3
    """`num_detections` of the served model counts the scores at or above it; all detections are returned."""

    flip: bool = False
    """Test-time augmentation in the served model: also run the mirrored image, and decode the mean of both. Twice the
    computation; the paper gains 1.9 AP by it on COCO (trainer/model/tta.py)."""

    scales: tuple[float, ...] = (1.0,)
    """Test-time augmentation: also run the image at these scales of the network's input, and decode the mean. The
    first is 1; each costs its square. The network must be able to halve the scaled input often enough."""

    augmented_apart: bool = False
    """Serve without `flip` and `scales`, and put them into a separate signature, `image_bytes_augmented`. The flag
    `--signature` of `centernet evaluate` scores it and shows what they would gain."""

    parity_images: int = 64
    """Number of validation images on which the export must agree with its checkpoint; 0 skips the comparison. The gate
    does not promote a model whose parity is unknown."""

    max_score_delta: float = 0.01
    """Maximum difference of the scores of two detections that count as the same in checkpoint and export. Both get the
    same pixels, and the arithmetic is the same but for its order."""

    max_box_delta: float = 2.0
    """Maximum difference of a box coordinate of two detections that count as the same, measured in the network's input:
    half a cell of the heatmap."""

    max_ap_delta: float = 0.005
    """Maximum difference of AP on those images."""

    max_unmatched: float = 0.01
    """Maximum fraction of the detections without a counterpart on the other side that agrees within the two bounds
    above. Not 0: where two neighbouring cells have nearly the same value, rounding decides which one is the peak."""

    def __post_init__(self) -> None:
        for name in ("score_threshold", "max_score_delta", "max_ap_delta", "max_unmatched"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"export.{name}: {getattr(self, name)} is out of range; use 0 to 1")
        # `not >=` also refuses NaN.
        if not self.max_box_delta >= 0:
            raise InputError(f"export.max_box_delta: {self.max_box_delta} is out of range; use 0 or more pixels")
        if self.parity_images < 0:
            raise InputError(f"export.parity_images: {self.parity_images} is out of range; use 0 or more")
        if not self.scales or self.scales[0] != 1 or len(set(self.scales)) != len(self.scales):
            raise InputError(f"export.scales: {list(self.scales)} must begin with 1 and repeat none; use [1.0, 1.25]")
        if not all(0.1 <= scale <= 4 for scale in self.scales):
            raise InputError(f"export.scales: {list(self.scales)} are out of range; use 0.1 to 4")

    @property
    def augments(self) -> bool:
        """Whether there is any test-time augmentation."""
        return self.flip or len(self.scales) > 1
