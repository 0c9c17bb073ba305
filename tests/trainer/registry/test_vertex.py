"""What needs no service of Vertex AI's registry; tests/cloud/test_vertex_registry.py has the rest, on loopback."""

import pytest

from beam_preprocess.base.errors import InputError
from trainer.registry.vertex import VertexRegistry, _key_label, _labels


@pytest.mark.parametrize(
    "uri",
    [
        "vertex://my-project/us-central1",
        "vertex://my-project/us-central1/Upper",
        "vertex://my-project/us-central1/a/b",
        "vertex://my-project/mars/centernet",
        "vertex://x/us-central1/centernet",
    ],
)
def test_bad_uri(uri: str) -> None:
    with pytest.raises(InputError):
        VertexRegistry(uri)


def test_place() -> None:
    registry = VertexRegistry("vertex://my-project/europe-west4/centernet")
    assert registry.place.parent == "projects/my-project/locations/europe-west4"


@pytest.mark.parametrize(
    ("facts", "labels"),
    [
        ({"ap": 0.54678}, {"ap": "0_5468"}),
        ({"run_id": "Run 7/b"}, {"run_id": "run_7_b"}),
        ({"data_digest": "ab" * 40}, {"data_digest": "ab" * 31 + "a"}),
        ({"none": None, "many": [1], "more": {"a": 1}}, {}),
    ],
)
def test_labels(facts: dict[str, object], labels: dict[str, str]) -> None:
    assert _labels(facts) == labels


def test_long_keys_have_different_labels() -> None:
    one, other = (_key_label("x" * 100 + end) for end in "ab")
    assert one != other
    assert len(one) <= 63
