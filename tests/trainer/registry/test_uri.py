"""A URI opens the registry of its kind."""

import pytest

from beam_preprocess.base.errors import InputError
from trainer.registry.local import LocalRegistry
from trainer.registry.uri import open_registry
from trainer.registry.vertex import VertexRegistry


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("registry", LocalRegistry),
        ("/data/registry", LocalRegistry),
        ("file:///data/registry", LocalRegistry),
        ("vertex://my-project/us-central1/centernet", VertexRegistry),
    ],
)
def test_open(uri: str, kind: type) -> None:
    assert type(open_registry(uri)) is kind


@pytest.mark.parametrize(
    "uri",
    [
        "gs://bucket/registry",
        "vertex://my-project/us-central1",
        "vertex://my-project/us-central1/Upper",
        "vertex://my-project/us-central1/a/b",
    ],
)
def test_neither(uri: str) -> None:
    with pytest.raises(InputError, match=f"--registry {uri}: "):
        open_registry(uri)
