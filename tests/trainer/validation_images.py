"""Synthetic validation images with annotations: coloured blocks on noise, of mixed sizes and formats."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ((32, 64), (100, 50), (48, 70), (17, 200), (64, 128), (40, 30))
KINDS = ("JPEG", "PNG", "BMP", "GIF", "JPEG", "JPEG")
MODES = ("RGB", "RGB", "RGB", "P", "L", "CMYK")
CATEGORIES = (10, 20, 30)


def encode(pixels: np.ndarray, kind: str, mode: str = "RGB") -> bytes:
    """An encoded image."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return buffer.getvalue()


def random_jpeg(height: int, width: int, seed: int = 0) -> bytes:
    """An encoded image of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return encode(pixels, "JPEG")


def write_images(folder: Path) -> tuple[Path, Path]:
    """Writes six images. Returns (folder of the images, annotation file)."""
    images = folder / "images"
    images.mkdir(parents=True)
    entries, objects = [], []
    for i, ((height, width), kind, mode) in enumerate(zip(SIZES, KINDS, MODES, strict=True)):
        rng = np.random.default_rng(i)
        coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
        pixels = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width].copy()
        box = [4 + i, 3, width // 3, height // 2]
        pixels[box[1] : box[1] + box[3], box[0] : box[0] + box[2], i % 3] = 240
        name = f"{i}.{kind.lower()}"
        (images / name).write_bytes(encode(pixels, kind, mode))
        entries.append({"id": 100 + i, "file_name": name, "height": height, "width": width})
        objects.append({"id": i, "image_id": 100 + i, "category_id": CATEGORIES[i % 3], "bbox": box, "iscrowd": 0})
    dataset = {
        "images": entries,
        "annotations": objects,
        "categories": [{"id": number, "name": f"class{i}"} for i, number in enumerate(CATEGORIES)],
    }
    annotations = folder / "instances.json"
    annotations.write_text(json.dumps(dataset))
    return images, annotations
