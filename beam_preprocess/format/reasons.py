"""Reason codes for everything that can be wrong with a file, an image or a box, and the lines of a reject file."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from beam_preprocess.base.errors import InputError


class Action(StrEnum):
    """What happens to a rejected file, image or box."""

    REFUSED = "refused"
    """The run ends without using the annotation file."""
    DROPPED = "dropped"
    CLIPPED = "clipped"
    CONVERTED = "converted"


class Reason(StrEnum):
    """Why a file was refused, or an image or a box dropped or repaired."""

    EMPTY_FILE = "empty_file"
    NOT_JSON = "not_json"
    TRUNCATED_FILE = "truncated_file"
    MISSING_SECTION = "missing_section"
    MALFORMED_FILE = "malformed_file"

    DUPLICATE_IMAGE_ID = "duplicate_image_id"
    DUPLICATE_FILE_NAME = "duplicate_file_name"
    PATH_OUTSIDE_FOLDER = "path_outside_folder"
    ZERO_SIZE = "zero_size"
    TOO_MANY_PIXELS = "too_many_pixels"
    MISSING_IMAGE = "missing_image"
    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED_IMAGE = "truncated_image"
    UNREADABLE_IMAGE = "unreadable_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    SIZE_DIFFERS = "size_differs"
    SIZE_MATCHES_ONLY_AFTER_EXIF = "size_matches_only_after_exif"
    CONVERTED_GRAY = "converted_gray"
    CONVERTED_PALETTE = "converted_palette"
    CONVERTED_ALPHA = "converted_alpha"
    CONVERTED_CMYK = "converted_cmyk"
    CONVERTED_16_BIT = "converted_16_bit"
    CONVERTED_NEAR_BLACK_16_BIT = "converted_near_black_16_bit"
    CONVERTED_ANIMATION = "converted_animation"
    CONVERTED_DAMAGED_JPEG = "converted_damaged_jpeg"

    WRONG_LENGTH = "wrong_length"
    NOT_FINITE = "not_finite"
    DUPLICATE_ANNOTATION = "duplicate_annotation"
    UNKNOWN_IMAGE = "unknown_image"
    UNKNOWN_CATEGORY = "unknown_category"
    NON_POSITIVE_SIDE = "non_positive_side"
    OUTSIDE_IMAGE = "outside_image"
    CLIPPED_TO_IMAGE = "clipped_to_image"
    BOX_TOO_SMALL = "box_too_small"

    @property
    def action(self) -> Action:
        """What happens to a file, image or box with this reason."""
        if self.of_file:
            return Action.REFUSED
        if self is Reason.CLIPPED_TO_IMAGE:
            return Action.CLIPPED
        return Action.CONVERTED if self.name.startswith("CONVERTED_") else Action.DROPPED

    @property
    def of_file(self) -> bool:
        """Whether the reason applies to the annotation file."""
        return self in _FILE_REASONS

    @property
    def of_box(self) -> bool:
        """Whether the reason applies to a box, not to an image."""
        return self in _BOX_REASONS


_ALL = list(Reason)
_FILE_REASONS = frozenset(_ALL[: _ALL.index(Reason.DUPLICATE_IMAGE_ID)])
_BOX_REASONS = frozenset(_ALL[_ALL.index(Reason.WRONG_LENGTH) :])


class UnusableFile(InputError):
    """An annotation file that cannot be used at all."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[Reason, str]]:
        """Exceptions pickle only their `args`, which do not include the reason."""
        return UnusableFile, (self.reason, str(self))


@dataclass(frozen=True, kw_only=True, slots=True)
class Reject:
    """One line of `rejects-*.jsonl`."""

    reason: Reason
    image_id: int
    """0 for the annotation file as a whole."""
    annotation_id: int | None = None
    file_name: str | None = None
    detail: str = ""
    """The values that caused the reject."""

    def to_mapping(self) -> dict[str, object]:
        """The line's JSON object."""
        return {
            "reason": self.reason.value,
            "action": self.reason.action.value,
            "image_id": None if self.reason.of_file else self.image_id,
            "annotation_id": self.annotation_id,
            "file_name": self.file_name,
            "detail": self.detail,
        }

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> "Reject":
        """The inverse of `to_mapping`."""
        rest = {key: value for key, value in values.items() if key not in ("reason", "action")}
        rest["image_id"] = rest["image_id"] or 0
        return cls(reason=Reason(values["reason"]), **rest)  # type: ignore[arg-type]

    @property
    def order(self) -> tuple[int, int, str]:
        """Sort key that orders rejects the same way in every run."""
        return self.image_id, -1 if self.annotation_id is None else self.annotation_id, self.reason.value

    def __str__(self) -> str:
        what = f"image {self.image_id}" + (f" ({self.file_name})" if self.file_name else "")
        annotation = "" if self.annotation_id is None else f", annotation {self.annotation_id}"
        return f"{what}{annotation}: {self.detail}"


def count_by_reason(rejects: Iterable[Reject]) -> dict[str, int]:
    """Counts by reason code, in the order of the enum, without reasons that do not occur."""
    counts = Counter(reject.reason for reject in rejects)
    return {reason.value: counts[reason] for reason in Reason if counts[reason]}
