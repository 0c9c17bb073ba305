"""Containers: what a run's see and whom they are, and how a missing engine or image is told. No engine is needed."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from beam_preprocess.base.errors import InputError
from pipeline.local import containers, run_folder
from pipeline.local.containers import Engine, Place

DATA = {f"{split}_{kind}": f"/data/{split}/{kind}" for split in ("train", "val") for kind in ("images", "annotations")}


def folder_of(runs: Path, config: str = "gate: {}\n", **more: Any) -> run_folder.RunFolder:
    return run_folder.create(runs, {**DATA, "config": config, "registry": "/models/registry", **more})


def test_containers_read_the_data_and_write_the_run_and_the_registry(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    for checkpoint in (weights, weights / "ckpt-7"):
        run = folder_of(tmp_path / "runs", f"task: {{init_checkpoint: {checkpoint}}}\n")
        places = containers.places(run)
        assert {str(place.path) for place in places if place.writable} == {
            *(str(run.stages), str(run.pipeline_root), "/models/registry")
        }
        assert {str(place.path) for place in places if not place.writable} == {
            *(*DATA.values(), str(tmp_path / "runs"), str(weights))
        }


def test_one_folder_for_both_splits_is_one_place(tmp_path: Path) -> None:
    places = containers.places(folder_of(tmp_path, val_images=DATA["train_images"]))
    assert [str(place.path) for place in places].count(DATA["train_images"]) == 1


@pytest.mark.parametrize("weights", ["weights/ckpt", "gs://bucket/weights"])
def test_initial_weights_that_a_container_would_not_see_are_refused(weights: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"task.init_checkpoint \S+: --in-containers needs a local path"):
        containers.places(folder_of(tmp_path, f"task: {{init_checkpoint: '{weights}'}}\n"))


@pytest.mark.parametrize(
    ("options", "uid", "user"),
    [
        ([], 1234, "1234:99"),  # what the containers write is the user's
        ([], 0, "1000"),  # the superuser gives the folders to the image's user
        (["name=seccomp,profile=default", "name=rootless"], 1234, "0:0"),
        (["name=rootless"], 0, "0:0"),
    ],
)
def test_whom_the_containers_are(options: list[str], uid: int, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: uid)
    monkeypatch.setattr("os.getgid", lambda: 99)
    assert made_engine(options).user == user


def test_the_superuser_gives_the_writable_places_alone_to_the_images_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 0)
    given: list[tuple[Path, int, int]] = []
    monkeypatch.setattr("os.chown", lambda path, uid, gid, **_: given.append((path, uid, gid)))
    for name in ("data", "stages"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    made_engine([]).hand_over([Place(path=tmp_path / "data"), Place(path=tmp_path / "stages", writable=True)])
    assert given == [(tmp_path / "stages", 1000, -1), (tmp_path / "stages" / "file", 1000, -1)]
    monkeypatch.setattr("os.getuid", lambda: 7)
    made_engine([]).hand_over([Place(path=tmp_path, writable=True)])
    assert len(given) == 2, "others can't, and need not"


def made_engine(options: list[str]) -> Engine:
    client = SimpleNamespace(info=lambda: {"SecurityOptions": options})
    attributes = {"Created": "2026-11-26T01:40:31.5Z", "Config": {"User": "1000"}}
    return Engine(client, "localhost/python-cpu:1", SimpleNamespace(id="sha256:0123456789abcdef01", attrs=attributes))


def test_the_engine_names_its_image() -> None:
    made = made_engine([])
    assert (made.digest, made.built) == ("0123456789abcdef", "2026-11-26 01:40")


def test_no_engine_is_told_with_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("docker", reason="the Python package docker is not installed")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(InputError, match=re.escape(f"no container engine answers at unix://{tmp_path}/none.sock")):
        containers.connect("localhost/python-cpu:1")


def test_the_package_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(InputError, match=re.escape("pip install 'centernet-pipeline[containers]'")):
        containers.connect("localhost/python-cpu:1")
