"""The `preprocess:` section of a configuration. Standard library only."""

from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_type_hints

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.json import convert, nearest, shown

T = TypeVar("T")
_FIX = "correct the configuration"


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessConfig:
    """Everything that shapes a record, except for the data and the split."""

    image_size: tuple[int, int] = (512, 512)
    """Height and width of a view in pixels; both divisible by the stride."""

    stride: int = 4
    """Input pixels per target cell."""

    train_views: int = 8
    """Views stored per training image; epoch e reads view e mod train_views. Validation images have one view."""

    scale_min: float = 0.6
    """Minimum size of a random crop window, relative to the window of the plain view."""

    scale_max: float = 1.3
    """Maximum size of a random crop window, relative to the window of the plain view."""

    crop_border: float = 0.2
    """Minimum distance of a random window's centre from the border, as a fraction of the longer image side. 0.5 centres
    every window."""

    min_visible: float = 0.25
    """A view drops a box when less than this fraction of its area is inside the view."""

    min_box_side: float = 1.0
    """Boxes with a side shorter than this, in original pixels, are rejected as `box_too_small`."""

    jpeg_quality: int = 95
    """JPEG quality of the stored views (4:2:0)."""

    gaussian_iou: float = 0.7
    """IoU that determines the Gaussian radius (section 3 of the paper)."""

    heatmap_cutoff: float = 2.5e-4
    """Heatmap values below this are not stored. The negative focal loss of a cell has the factor (1 - value)^4, so
    omitting values below c changes the loss by at most a relative 1 - (1 - c)^4, for any prediction: 1e-3 here."""

    target_variant: Literal["model-garden", "original"] = "model-garden"
    """Definition of the heatmap: Model Garden's, or that of the original implementation (sides rounded up to whole
    cells, Gaussians cut off at their radius)."""

    class_index: Literal["rank", "id-minus-1"] = "rank"
    """How category ids map to class indices; "id-minus-1" gives Model Garden's 90 channels for COCO."""

    max_reject_fraction: float = 0.01
    """Maximum fraction of training images, and separately of training boxes, that may be dropped. No validation image
    may be."""

    def __post_init__(self) -> None:
        height, width = self.image_size
        if self.stride < 1 or height < 1 or width < 1 or height % self.stride or width % self.stride:
            raise InputError(
                f"preprocess.image_size: {list(self.image_size)} is not a multiple of preprocess.stride "
                f"{self.stride}; set both sides to positive multiples of it"
            )
        checks: list[tuple[str, Any, bool, str]] = [
            ("train_views", self.train_views, self.train_views >= 1, "1 or more"),
            ("scale_min", self.scale_min, 0 < self.scale_min <= self.scale_max, "0 < scale_min <= scale_max"),
            ("crop_border", self.crop_border, 0 <= self.crop_border <= 0.5, "a fraction from 0 to 0.5"),
            ("min_visible", self.min_visible, 0 <= self.min_visible <= 1, "a fraction from 0 to 1"),
            ("min_box_side", self.min_box_side, self.min_box_side >= 0, "0 or more pixels"),
            ("jpeg_quality", self.jpeg_quality, 1 <= self.jpeg_quality <= 100, "1 to 100"),
            ("gaussian_iou", self.gaussian_iou, 0 < self.gaussian_iou < 1, "a fraction between 0 and 1"),
            ("heatmap_cutoff", self.heatmap_cutoff, 0 < self.heatmap_cutoff < 1, "between 0 and 1"),
            (
                "target_variant",
                self.target_variant,
                self.target_variant in ("model-garden", "original"),
                "'model-garden' or 'original'",
            ),
            ("class_index", self.class_index, self.class_index in ("rank", "id-minus-1"), "'rank' or 'id-minus-1'"),
            ("max_reject_fraction", self.max_reject_fraction, 0 <= self.max_reject_fraction <= 1, "0 to 1"),
        ]
        for name, value, valid, wanted in checks:
            if not valid:
                raise InputError(f"preprocess.{name}: {value!r} is out of range; use {wanted}")

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of the heatmap in cells."""
        return self.image_size[0] // self.stride, self.image_size[1] // self.stride


def from_mapping(section: type[T], name: str, values: Any) -> T:
    """Builds the frozen dataclass `section` from a parsed YAML mapping.

    Whole numbers are accepted where the field is a float, and lists where it is a tuple. Nothing else is converted.

    Args:
      section: a dataclass whose fields all have defaults.
      name: the section's key in the configuration, for messages.
      values: the mapping; None is an empty one.

    Raises:
      InputError: not a mapping, an unknown key, or a value of another type or out of range.
    """
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise InputError(f"{name}: expected a mapping of keys to values, got {shown(values)}")
    types = get_type_hints(section)
    for key in values:
        if key not in types:
            raise InputError(f"{name}.{key}: unknown key{nearest(key, types)}")
    return section(**{key: convert(types[key], value, f"{name}.{key}", _FIX) for key, value in values.items()})
