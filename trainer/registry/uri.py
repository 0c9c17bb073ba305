"""Opens the model registry at a URI: a local folder, or a Vertex AI Model Registry."""

from trainer.registry.base import VERTEX_SCHEME, Registry


def open_registry(uri: str) -> Registry:
    """The registry at a URI.

    Args:
      uri: path of a local folder, or `vertex://PROJECT/REGION/MODEL_ID`.

    Raises:
      InputError: `uri` is neither.
    """
    if uri.startswith(VERTEX_SCHEME):
        from trainer.registry.vertex import VertexRegistry

        return VertexRegistry(uri)
    from trainer.registry.local import LocalRegistry

    return LocalRegistry(uri)
