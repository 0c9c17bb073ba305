"""A COCO data set made in a test, as the one reader of annotation files sees it."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beam_preprocess.format.annotations import CocoAnnotations, load_annotations


def parsed(dataset: Mapping[str, Any]) -> CocoAnnotations:
    """Written to a file that is gone afterwards, and read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instances.json"
        path.write_text(json.dumps(dataset))
        return load_annotations(str(path))
