"""Makes the records of one image: its views, rendered and encoded, with their targets. No Beam."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.geometry import clip_to_valid, make_view, to_input
from beam_preprocess.format.images import encode_jpeg, render_view
from beam_preprocess.format.records import Record
from beam_preprocess.format.targets import assign_targets


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The boxes of one image."""

    boxes: np.ndarray
    """float64 [N, 4], [ymin, xmin, ymax, xmax] in original pixels, inside the image."""
    classes: np.ndarray
    """int32 [N], class indices."""
    crowd: np.ndarray
    """bool [N]."""


def make_records(
    pixels: np.ndarray, labels: Labels, *, image_id: int, views: int, seed: int, config: PreprocessConfig
) -> Iterator[tuple[Record, int]]:
    """Makes views 0 to `views` - 1 of one decoded image.

    Args:
      pixels: uint8 [height, width, 3], RGB.
      labels: the image's boxes.
      image_id: COCO image id. Together with the seed and the view number, it determines the random crop.
      views: number of views.
      seed: seed of the whole data set.
      config: sizes, crop range, cut-offs.

    Yields:
      (record, number of boxes that fell outside the view).
    """
    image_size = (pixels.shape[0], pixels.shape[1])
    for number in range(views):
        view = make_view(
            seed=seed,
            image_id=image_id,
            view=number,
            image_size=image_size,
            input_size=config.image_size,
            scale_range=(config.scale_min, config.scale_max),
            border=config.crop_border,
        )
        boxes, keep = clip_to_valid(view, to_input(view, labels.boxes), config.min_visible)
        # Keep even the smallest visible part of a crowd region: it must not become background.
        keep |= labels.crowd & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        targets = assign_targets(
            boxes[keep],
            labels.classes[keep],
            labels.crowd[keep],
            image_size=config.image_size,
            stride=config.stride,
            cutoff=config.heatmap_cutoff,
            min_iou=config.gaussian_iou,
            variant=config.target_variant,
        )
        image = encode_jpeg(render_view(pixels, view, config.image_size), config.jpeg_quality)
        record = Record(
            image=image, image_id=image_id, image_size=image_size, view_number=number, view=view, targets=targets
        )
        yield record, int(len(keep) - keep.sum())
