"""The `export:` section."""

import pytest

from beam_preprocess.base.errors import InputError
from trainer.config.export_config import ExportConfig
from trainer.config.sections import parse_config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ExportConfig()),
        ("flip: true", ExportConfig(flip=True)),
        ("scales: [1, 0.5, 1.25]", ExportConfig(scales=(1.0, 0.5, 1.25))),
        ("{scales: [1, 2], augmented_apart: true}", ExportConfig(scales=(1.0, 2.0), augmented_apart=True)),
        ("parity_images: 0", ExportConfig(parity_images=0)),
        ("scales: [0.5, 1]", "must begin with 1"),
        ("scales: []", "must begin with 1"),
        ("scales: [1, 1]", "repeat none"),
        ("scales: [1, 9]", "out of range"),
        ("scales: 1.5", "export.scales: is 1.5, a number; a list is needed"),
        (r"scales: [1, true]", r"export.scales\[1\]: is True, true or false; a number is needed"),
        ("augmented_apart: true", "without flip or scales has no effect"),
        ("parity_images: -1", "export.parity_images: -1"),
        ("max_box_delta: .nan", "export.max_box_delta: nan"),
        ("max_score_delta: 1.5", "export.max_score_delta: 1.5"),
        ("max_score: 0.1", "unknown key"),
    ],
)
def test_export_section(text: str, expected: ExportConfig | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            parse_config(f"export: {text}" if text.startswith("{") else f"export:\n  {text}")
    else:
        config = parse_config(f"export: {text}" if text.startswith("{") else f"export:\n  {text}")
        assert config.export == expected
