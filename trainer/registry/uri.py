"""Opens the model registry that a URI names: a local folder, or Vertex AI Model Registry."""

from trainer.registry.base import VERTEX_SCHEME, Registry


def open_registry(uri: str) -> Registry:
    """The registry that a URI names.

    Args:
      uri: path of a local folder, or `vertex://PROJECT/REGION/MODEL_ID`.

    Raises:
      InputError: neither.
    """
    # Imported here: Google's SDK takes seconds to import.
    if uri.startswith(VERTEX_SCHEME):
        from trainer.registry.vertex import VertexRegistry

        return VertexRegistry(uri)
    from trainer.registry.local import LocalRegistry

    return LocalRegistry(uri)
