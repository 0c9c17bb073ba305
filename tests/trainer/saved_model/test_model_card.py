import pytest

from trainer.config.sections import ExportConfig
from trainer.saved_model import model_card

SUMMARY = {
    "input_size": [128, 64],
    "steps": 920,
    "images": 300,
    "data_digest": "d1",
    "train_digest": "t1",
    "categories": [{"id": 7, "index": 0, "name": "a|b\nc"}],
}
PARITY = {
    "images": 64,
    "matched": 261,
    "unmatched": 0,
    "max_score_delta": 0.0009,
    "max_box_delta": 0.03,
    "ap_export": 0.5344,
}


def card(parity: dict | None, options: ExportConfig | None = None, text: str = "gate: {}") -> str:
    return model_card.model_card(
        summary=SUMMARY, options=options or ExportConfig(), text=text, parity=parity, reason="no images were given"
    )


@pytest.mark.parametrize(
    ("parity", "words"),
    [
        (PARITY, "AP of this model on 64 validation images: 0.5344"),
        (PARITY, "261 detections matched, 0 have no counterpart within the bounds; the largest difference is 0.0009"),
        ({**PARITY, "max_box_delta": 4.07}, "for scores and 4.1 pixels"),
        (PARITY | {"ap_export": None}, "not defined (they have no objects)"),
        (None, "Not evaluated before export: no images were given. Parity with the checkpoint: not measured."),
        (PARITY, "not evaluated on other images"),
        (PARITY, "| data digest | d1 |"),
        (PARITY, "| records digest | unknown |"),  # labelled
        (PARITY, "| 7 | a\\|b c |"),  # a name can't break the table
        (PARITY, "| test-time augmentation | none |"),
        (PARITY, "| tensorflow | "),
        (PARITY, "| scales | 1 |"),
        (PARITY, "| flip | false |"),
    ],
)
def test_card(parity: dict | None, words: str) -> None:
    assert words in card(parity)


def test_augmentation_and_configuration() -> None:
    text = card(PARITY, ExportConfig(flip=True, scales=(1.0, 1.25), augmented_apart=True), "# ```\ngate: {}")
    assert "flip on, scales 1, 1.25; only in the signature `image_bytes_augmented`" in text
    assert "\n````yaml\n# ```\ngate: {}\n````\n" in text
