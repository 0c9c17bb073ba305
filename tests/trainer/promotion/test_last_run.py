"""The record of the last completed run."""

import json
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from trainer.promotion.last_run import identity, is_last, location, write_last

RUN = {"train_digest": "a", "val_digest": "b", "sections": ("a: 1", "b: 2"), "seed": 1, "image": "image:1"}


def test_only_the_same_run_is_the_last_one(tmp_path: Path) -> None:
    registry = str(tmp_path / "registry")
    assert not is_last(identity(**RUN), registry, "root"), "no run has completed"
    uri = write_last(identity(**RUN), "promoted: v0001", registry, "root")
    assert json.loads(Path(uri).read_text())["outcome"] == "promoted: v0001"
    assert is_last(identity(**RUN), registry, "root")
    for name, other in (
        ("train_digest", "x"),
        ("val_digest", "x"),
        ("sections", ("a: 1", "b: 3")),
        ("sections", ("a: 1b: 2", "")),
        ("seed", 2),
        ("image", "x"),
    ):
        assert not is_last(identity(**{**RUN, name: other}), registry, "root"), name
    assert not is_last({**identity(**RUN), "later": "x"}, registry, "root"), "code with another identity"


def test_location() -> None:
    assert location("registry/", "root") == "registry/last_completed.json"
    one, other = (location(f"vertex://my-project/us-central1/{name}", "gs://bucket/root/") for name in ("a", "b"))
    assert one.startswith("gs://bucket/root/last_completed/")
    assert one != other


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ("[]", "is a list, not an object"),
        ('{"run": {}}', "lacks outcome, registry"),
        ('{"run": "x", "outcome": "", "registry": ""}', "run: is 'x'"),
        ('{"run": {"seed": 1}, "outcome": "", "registry": ""}', "run.seed: is 1"),
        ('{"run": {}, "outcome": "", "registry": "", "x": 1}', "unknown key 'x'"),
    ],
)
def test_a_damaged_file(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "last_completed.json").write_text(content)
    with pytest.raises(InputError, match=words) as error:
        is_last(identity(**RUN), str(tmp_path), "root")
    assert "delete it" in str(error.value)
