from trainer.registry import local, vertex
from trainer.saved_model import layout


def test_the_registry_looks_for_the_same_file() -> None:
    assert layout.SAVED_MODEL == local.MODEL_FILE == vertex.MODEL_FILE
