"""The `preprocess:` section of a run's configuration. Standard library only."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from beam_preprocess.base.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessConfig:
    """Everything that shapes a record, apart from the data and the split."""

    image_size: tuple[int, int] = (512, 512)
    """Height and width of a view in pixels; both divisible by the stride."""

    stride: int = 4
    """Input pixels per target cell."""

    train_views: int = 8
    """Views stored per training image; epoch e reads view e mod train_views. Validation has one."""

    scale_min: float = 0.6
    """Smallest random crop window, relative to the window of the plain view."""

    scale_max: float = 1.3
    """Largest random crop window, relative to the window of the plain view."""

    crop_border: float = 0.2
    """Centres of random windows keep this fraction of the longer image side from the border; 0.5 centres them."""

    min_visible: float = 0.25
    """A box is dropped from a view when less than this fraction of its area stays inside."""

    min_box_side: float = 1.0
    """Boxes with a side shorter than this many original pixels are rejected as `box_too_small`."""

    jpeg_quality: int = 95
    """Quality of the stored views (4:2:0)."""

    gaussian_iou: float = 0.7
    """IoU from which the Gaussian radius is derived (the paper's, section 3)."""

    heatmap_cutoff: float = 2.5e-4
    """Heatmap values below this are not stored. A cell's negative focal loss has the factor (1 - value)^4, so leaving
    out values below c changes the loss by a relative 1 - (1 - c)^4 at most, whatever the predictions: 1e-3 here."""

    target_variant: Literal["model-garden", "original"] = "model-garden"
    """Heatmaps as Model Garden defines them, or as the original implementation (sides rounded up to whole cells,
    Gaussians that end at their radius)."""

    class_index: Literal["rank", "id-minus-1"] = "rank"
    """How category ids become class indices; "id-minus-1" gives Model Garden's 90 COCO channels."""

    max_reject_fraction: float = 0.01
    """Largest share of training images that may be rejected; validation allows none."""

    def __post_init__(self) -> None:
        height, width = self.image_size
        if self.stride < 1 or height < 1 or width < 1 or height % self.stride or width % self.stride:
            raise InputError(
                f"preprocess.image_size: {list(self.image_size)} is not a multiple of preprocess.stride "
                f"{self.stride}; set both sides to positive multiples of it"
            )
        checks: list[tuple[str, Any, bool, str]] = [
            ("train_views", self.train_views, self.train_views >= 1, "an integer of 1 or more"),
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


def from_mapping(section: type, name: str, values: Any) -> Any:
    """Builds the frozen dataclass `section` from a parsed YAML mapping.

    Integers are taken where the field is a float, and lists where it is a tuple; nothing else is converted.

    Raises:
      InputError: not a mapping, an unknown key, or a value of another type.
    """
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise InputError(f"{name}: expected a mapping of keys to values, got {values!r}")
    defaults = {f.name: f.default for f in fields(section)}
    converted: dict[str, Any] = {}
    for key, value in values.items():
        if key not in defaults:
            raise InputError(f"{name}.{key}: unknown key; known keys are {', '.join(sorted(defaults))}")
        converted[key] = _convert(f"{name}.{key}", value, defaults[key])
    return section(**converted)


def _convert(name: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        if len(value) != len(default):
            raise InputError(f"{name}: {value!r} has {len(value)} entries; {len(default)} are needed")
        return tuple(_convert(name, v, d) for v, d in zip(value, default, strict=True))
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if default is not None and type(value) is not type(default):
        raise InputError(f"{name}: {value!r} is a {type(value).__name__}; a {type(default).__name__} is needed")
    return value
