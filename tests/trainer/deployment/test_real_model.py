"""A rollout whose server is the exported model's own signature: it answers what the evaluation recorded."""

from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.gcs_emulator import GcsEmulator
from tests.loopback.deployments import URI, Deploy
from tests.loopback.vertex_server import VertexServer
from tests.trainer.validation_images import write_images

# One training and export for all of them.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("exported"), pytest.mark.usefixtures("no_long_waits")]


def test_the_exported_model_passes_and_other_weights_do_not(
    exported: Path, vertex: VertexServer, gcs: GcsEmulator, deploy: Deploy, tmp_path: Path
) -> None:
    import tensorflow as tf

    from trainer.registry.vertex import VertexRegistry
    from trainer.saved_model.accuracy import evaluate
    from trainer.saved_model.inference import load_signature

    images, annotations = write_images(tmp_path / "data")
    evaluation = evaluate(
        model=str(exported),
        images=str(images),
        annotations=str(annotations),
        output=str(tmp_path / "out"),
        latency_calls=0,
    )
    folder, bucket = "my-bucket/real/saved_model", fsspec.filesystem("gs")
    bucket.pipe_file(f"{folder}/saved_model.pb", b"the server below has it")
    bucket.pipe_file(f"{folder}/smoke.json", (tmp_path / "out" / "smoke.json").read_bytes())
    registry = VertexRegistry(URI)
    for run in ("right", "wrong"):
        registry.publish(f"gs://{folder}", {"model_digest": evaluation.model_digest}, key=run)
    signature = load_signature(str(exported))

    def serve(deployed: dict[str, Any], image: bytes) -> dict[str, Any]:
        found = {name: value[0].numpy().tolist() for name, value in signature(image_bytes=tf.constant([image])).items()}
        if deployed["modelVersionId"] == "2":
            found["detection_boxes"] = found["detection_boxes"][::-1]  # each with another one's score
        return found

    vertex.serve = serve
    code, out, err = deploy("--version", "1", "--max-latency-ms", "0")
    assert (code, err) == (0, "")
    assert "5 images answered as recorded" in out
    assert "0 for scores, 0 pixels for boxes" in out
    code, _, err = deploy("--version", "2", "--max-latency-ms", "0")
    assert code == 1
    assert "smoke test failed" in err
