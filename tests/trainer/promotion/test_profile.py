"""The profile beside a published model, in both registries, and what `centernet watch` finds there."""

import hashlib
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from beam_preprocess.base.errors import InputError
from tests.trainer.made_decision import evaluation as evaluation_of
from tests.trainer.made_profile import profile
from trainer.promotion.evaluation import PROFILE
from trainer.promotion.profile import write_profile
from trainer.registry.digest import model_digest
from trainer.registry.named import find_model
from trainer.registry.uri import open_registry
from trainer.watch.origin import stored_profile


@pytest.fixture(params=["local", "vertex"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A registry of each kind."""
    if request.param == "local":
        return str(tmp_path / "registry")
    for fixture in ("no_long_waits", "gcs", "vertex"):
        request.getfixturevalue(fixture)
    return "vertex://my-project/us-central1/centernet"


def test_a_profile_is_published_and_found(uri: str, tmp_path: Path) -> None:
    source = f"{tmp_path}/model" if "://" not in uri else "gs://my-bucket/model"
    fs, path = fsspec.core.url_to_fs(source)
    fs.makedirs(path, exist_ok=True)
    fs.pipe_file(f"{path}/saved_model.pb", b"graph")
    registry = open_registry(uri)
    registry.swap_alias("champion", registry.publish(source, {}, key="run-1"), expected=None)
    champion = find_model("champion", uri)
    digest = model_digest(champion.folder)
    assert stored_profile(champion, digest) is None

    measured = replace(profile(images=6), model_digest=digest)
    content = measured.to_bytes()
    (tmp_path / PROFILE).write_bytes(content)
    files = {PROFILE: hashlib.sha256(content).hexdigest()}
    (tmp_path / "evaluation.json").write_text(replace(evaluation_of(), files=files).to_json())
    line = write_profile(champion.folder, f"{tmp_path}/evaluation.json")
    assert line == "profile.npz: 6 images, to compare new images with"
    found = stored_profile(champion, digest)
    assert found is not None
    assert (found.digest, found.where) == (files[PROFILE], f"{champion.folder}/{PROFILE}")
    assert found.profile.rows.names.tolist() == measured.rows.names.tolist()
    assert model_digest(champion.folder) == digest, "outside the model's digest"
    with pytest.raises(InputError, match=r"was measured with another model \([0-9a-f]{12}…\); promote the model again"):
        stored_profile(champion, "0" * 64)


@pytest.mark.parametrize(
    ("files", "message"),
    [({}, "has no profile.npz"), ({PROFILE: "0" * 64}, "is truncated or changed")],
)
def test_an_evaluation_without_a_profile_promotes_all_the_same(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    (tmp_path / PROFILE).write_bytes(b"torn")
    (tmp_path / "evaluation.json").write_text(replace(evaluation_of(), files=files).to_json())
    line = write_profile(str(tmp_path / "model"), f"{tmp_path}/evaluation.json")
    assert line.startswith("profile.npz: not written (")
    assert message in line
    assert line.endswith("; `centernet watch` needs validation images for this version")
    assert not (tmp_path / "model").exists()
