"""Drawing for the demo data set: textured shapes, varied backgrounds, clutter, camera noise.

Everything depends only on the random generator that is passed in. Images are uint8 [height, width, 3] in OpenCV's
channel order; masks are float32 [height, width], coverage from 0 to 1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.float32]
Points = NDArray[np.float64]

_SUPERSAMPLE = 4  # masks are drawn larger by this factor, then averaged: smooth edges at any rotation


def _polygon(angles: list[float], radii: list[float]) -> Points:
    return np.stack([np.array(radii) * np.cos(angles), np.array(radii) * np.sin(angles)], axis=1)


def _regular(count: int) -> Points:
    return _polygon([2 * math.pi * i / count for i in range(count)], [1.0] * count)


def _star() -> Points:
    return _polygon([math.pi * i / 5 for i in range(10)], [1.0, 0.42] * 5)


def _cross() -> Points:
    a, b = 0.3, 0.95
    quarter = np.array([(a, b), (-a, b), (-a, a)])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])


OUTLINES: dict[str, Callable[[], list[Points]]] = {
    "disc": lambda: [_regular(64)],
    "triangle": lambda: [_regular(3)],
    "square": lambda: [_regular(4)],
    "star": lambda: [_star()],
    "ring": lambda: [_regular(64), 0.52 * _regular(64)],
    "cross": lambda: [_cross()],
}
"""Closed curves of each class in the unit circle; a second curve is a hole."""


def unit_area(name: str) -> float:
    """Area of a class's outline in the unit circle, without holes."""
    areas = []
    for curve in OUTLINES[name]():
        x, y = curve[:, 0], curve[:, 1]
        areas.append(abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2)
    return areas[0] - sum(areas[1:])


def shape_mask(
    name: str, size: tuple[int, int], centre: tuple[float, float], radius: float, aspect: float, angle: float
) -> Mask:
    """Draws one shape.

    Args:
      name: a key of OUTLINES.
      size: height and width of the mask in pixels.
      centre: (y, x) in pixels; near the edge, the mask is clipped.
      radius: radius of the circle around the shape before it is squeezed, in pixels.
      aspect: factor that squeezes the shape across its own axis; 1 keeps it.
      angle: rotation in radians.
    """
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    top, left = max(int(centre[0] - radius) - 1, 0), max(int(centre[1] - radius) - 1, 0)
    height = min(int(centre[0] + radius) + 2, size[0]) - top
    width = min(int(centre[1] + radius) + 2, size[1]) - left
    curves = []
    for curve in OUTLINES[name]():
        points = (curve * [radius, radius * aspect]) @ rotation.T + [centre[1] - left, centre[0] - top]
        curves.append(np.round((points * _SUPERSAMPLE - 0.5) * 16).astype(np.int32))
    big = np.zeros((height * _SUPERSAMPLE, width * _SUPERSAMPLE), np.uint8)
    cv2.fillPoly(big, curves, (255,), lineType=cv2.LINE_8, shift=4)
    mask = np.zeros(size, np.float32)
    small = cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA)
    mask[top : top + height, left : left + width] = small.astype(np.float32) / 255
    return mask


def noise(rng: np.random.Generator, size: tuple[int, int], coarsest: int = 3) -> NDArray[np.float32]:
    """Multi-octave noise in [0, 1], float32 [height, width]."""
    height, width = size
    total = np.zeros((height, width), np.float32)
    for octave in range(5):
        cells = coarsest * 2**octave
        grid = rng.random((cells, cells + 1), np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.6**octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / (high - low)


def _colour(
    rng: np.random.Generator, saturation: tuple[int, int], value: tuple[int, int], hue: tuple[int, int] = (0, 180)
) -> NDArray[np.float32]:
    """A random colour, BGR. OpenCV's hues go from 0 to 180, and a range may extend past 180."""
    hsv = np.array([[[rng.integers(*hue) % 180, rng.integers(*saturation), rng.integers(*value)]]], np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32)


def background(rng: np.random.Generator, size: tuple[int, int]) -> Image:
    """Three colours mixed by noise and by a gradient in a random direction."""
    height, width = size
    colours = [_colour(rng, (20, 140), (50, 210)) for _ in range(3)]
    angle = rng.uniform(0, 2 * math.pi)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    ramp = (columns / width - 0.5) * math.cos(angle) + (rows / height - 0.5) * math.sin(angle) + 0.5
    first, second = noise(rng, size)[..., None], np.clip(ramp, 0, 1)[..., None]
    mixed = (colours[0] * (1 - first) + colours[1] * first) * (1 - 0.5 * second) + colours[2] * 0.5 * second
    mixed *= 0.8 + 0.4 * noise(rng, size, coarsest=12)[..., None]
    return np.clip(mixed, 0, 255).astype(np.uint8)


def clutter(rng: np.random.Generator, image: Image) -> None:
    """Draws curved strokes and smooth blobs, which belong to no class, into the image."""
    height, width = image.shape[:2]
    for _ in range(rng.integers(2, 7)):
        colour = tuple(float(c) for c in _colour(rng, (0, 200), (30, 230)))
        start, bend, end = (rng.uniform(-0.1, 1.1, 2) * [width, height] for _ in range(3))
        t = np.linspace(0, 1, 24)[:, None]
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
        cv2.polylines(
            image, [np.round(curve).astype(np.int32)], False, colour, int(rng.integers(1, 6)), lineType=cv2.LINE_AA
        )
    for _ in range(rng.integers(0, 3)):
        angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
        waves = [rng.uniform(-0.3, 0.3) * np.cos(k * angles + rng.uniform(0, 6.3)) for k in (1, 2, 3)]
        radii = 1 + np.sum(waves, axis=0)
        centre, radius = rng.uniform(0, 1, 2) * [width, height], rng.uniform(8, 32)
        points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None] * radius + centre
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [np.round(points).astype(np.int32)], (255,))
        if mask.any():
            paint(rng, image, mask.astype(np.float32) / np.float32(255))


@dataclass(frozen=True, kw_only=True, slots=True)
class Surface:
    """Pattern and colours of a class. The ranges of neighbouring classes overlap."""

    pattern: int
    """0 stripes, 1 checks, 2 dots, 3 noise, 4 gradient."""
    hue: tuple[int, int]
    """Range of hues, in OpenCV's units."""


SURFACES: dict[str, Surface] = {
    "disc": Surface(pattern=2, hue=(0, 50)),
    "triangle": Surface(pattern=0, hue=(30, 80)),
    "square": Surface(pattern=1, hue=(60, 110)),
    "star": Surface(pattern=4, hue=(90, 140)),
    "ring": Surface(pattern=3, hue=(120, 170)),
    "cross": Surface(pattern=1, hue=(150, 200)),
}


def texture(rng: np.random.Generator, size: tuple[int, int], surface: Surface | None = None) -> NDArray[np.float32]:
    """One object's surface, float32 [height, width, 3]: two colours in stripes, checks, dots, noise or a gradient.

    Without `surface` (clutter), pattern and hue are random.
    """
    height, width = size
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, period = rng.uniform(0, math.pi), rng.uniform(8, 22)
    u = (columns * math.cos(angle) + rows * math.sin(angle)) * 2 * math.pi / period
    v = (rows * math.cos(angle) - columns * math.sin(angle)) * 2 * math.pi / period
    kind = surface.pattern if surface else rng.integers(5)
    if kind == 0:
        weight = (np.sin(u) > 0).astype(np.float32)
    elif kind == 1:
        weight = (np.sin(u) * np.sin(v) > 0).astype(np.float32)
    elif kind == 2:
        weight = (np.sin(u) + np.sin(v) > 0.9).astype(np.float32)
    elif kind == 3:
        weight = noise(rng, size, coarsest=6)
    else:
        weight = 0.5 + 0.5 * np.sin(u / 8)
    base = _colour(rng, (110, 256), (90, 256), surface.hue if surface else (0, 180))
    other = np.clip(base * rng.uniform(0.55, 0.8) + rng.uniform(-30, 30, 3), 0, 255)
    return base * (1 - weight[..., None]) + other * weight[..., None]


def paint(rng: np.random.Generator, image: Image, mask: Mask, surface: Surface | None = None) -> None:
    """Paints a textured shape in place, with a soft shadow below it and, half of the time, a dark rim."""
    rows, columns = np.nonzero(mask)
    margin = 12  # wider than the shadow
    window = (
        slice(max(int(rows.min()) - margin, 0), int(rows.max()) + margin),
        slice(max(int(columns.min()) - margin, 0), int(columns.max()) + margin),
    )
    part, mask = image[window], mask[window]
    size = (part.shape[0], part.shape[1])
    dy, dx = (int(d) for d in rng.integers(1, 5, 2))
    moved = np.zeros_like(mask)
    moved[dy:, dx:] = mask[:-dy, :-dx]
    shadow = cv2.GaussianBlur(moved, (0, 0), 2.5)[..., None]
    colours = texture(rng, size, surface)
    if rng.random() < 0.5:
        colours = colours * (0.45 + 0.55 * cv2.GaussianBlur(mask, (0, 0), 2.0)[..., None] ** 2)
    light = 0.85 + 0.3 * noise(rng, size)[..., None]
    coverage = mask[..., None]
    below = part * (1 - 0.45 * shadow)
    part[:] = np.clip(below * (1 - coverage) + colours * light * coverage, 0, 255).astype(np.uint8)


def photograph(rng: np.random.Generator, image: Image, light: float = 1.0) -> Image:
    """Adds what a camera adds: a little blur, a change of exposure, and noise that grows with brightness."""
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.9)).astype(np.float32)
    exposed = (blurred * rng.uniform(0.8, 1.15) + rng.uniform(-8, 8)) * light
    sigma = 2.5 + 0.02 * exposed
    noisy = exposed + rng.standard_normal(exposed.shape, np.float32) * sigma
    return np.clip(noisy, 0, 255).astype(np.uint8)
