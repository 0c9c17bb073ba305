"""Drawing of the demo data set."""

import math

import numpy as np
import pytest

from pipeline.local import demo_shapes


@pytest.mark.parametrize("name", demo_shapes.OUTLINES)
@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_a_mask_covers_the_outlines_area(name: str, angle: float) -> None:
    mask = demo_shapes.shape_mask(name, (100, 120), (50.0, 60.0), 40.0, 0.8, angle)
    assert mask.shape == (100, 120)
    assert mask.min() >= 0 and mask.max() <= 1
    assert mask.sum() == pytest.approx(demo_shapes.unit_area(name) * 40**2 * 0.8, rel=0.03)  # the outline's pixels


def test_a_ring_has_a_hole_and_a_disc_has_none() -> None:
    ring, disc = (demo_shapes.shape_mask(name, (64, 64), (32.0, 32.0), 30.0, 1.0, 0.0) for name in ("ring", "disc"))
    assert (ring[32, 32], disc[32, 32]) == (0, 1)
    assert demo_shapes.unit_area("disc") == pytest.approx(math.pi, rel=0.01)


def test_painting_changes_the_shape_and_its_shadow_only() -> None:
    image = np.full((80, 80, 3), 128, np.uint8)
    mask = demo_shapes.shape_mask("square", (80, 80), (30.0, 30.0), 12.0, 1.0, 0.0)
    demo_shapes.paint(np.random.default_rng(0), image, mask, demo_shapes.SURFACES["square"])
    changed = (image != 128).any(axis=-1)
    assert changed[mask == 1].all()
    assert not changed[60:, 60:].any()
