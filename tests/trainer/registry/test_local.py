"""The local registry, also with several processes at once and with processes that die."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from trainer.registry.base import ChampionMoved, RegistryError
from trainer.registry.local import LocalRegistry

ROOT = Path(__file__).parents[3]


@pytest.fixture
def registry(tmp_path) -> LocalRegistry:
    return LocalRegistry(str(tmp_path / "registry"))


@pytest.fixture
def model(tmp_path) -> str:
    return make_model(tmp_path / "model")


def make_model(folder: Path, content: bytes = b"graph") -> str:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(content)
    (folder / "variables" / "variables.index").write_bytes(b"index")
    return str(folder)


def change(folder: Path, **values: object) -> None:
    path = folder / "version.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_publish(registry, model):
    assert registry.list() == ()
    assert registry.publish(model, {"ap": 0.5}, key="run-1") == "v0001"
    assert registry.publish(model, {"ap": 0.6}, key="run-2") == "v0002"
    first, second = registry.list()
    assert (first.version, first.key, first.metadata) == ("v0001", "run-1", {"ap": 0.5})
    assert second.metadata == {"ap": 0.6}
    assert (Path(first.path) / "variables" / "variables.index").read_bytes() == b"index"
    assert sorted(p.name for p in (registry.root / "versions").iterdir()) == ["v0001", "v0002"]
    assert registry.champion() is None
    assert registry.aliases() == {}


def test_the_same_key_is_published_once(registry, model):
    assert registry.publish(model, {"ap": 0.5}, key="run-1") == "v0001"
    assert registry.publish(model, {"ap": 0.9}, key="run-1") == "v0001"
    assert [v.metadata for v in registry.list()] == [{"ap": 0.5}]


def test_publish_from_another_file_system(registry):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe({"/exported/saved_model.pb": b"graph", "/exported/assets/labels.json": b"{}"})
    version = registry.version(registry.publish("memory://exported", {}, key="k"))
    assert (Path(version.path) / "assets" / "labels.json").read_bytes() == b"{}"


@pytest.mark.parametrize("folder", ["absent", "empty"])
def test_no_saved_model(registry, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"contains no saved_model\.pb"):
        registry.publish(str(tmp_path / folder), {}, key="k")
    assert registry.list() == ()
    assert list((registry.root / "versions").iterdir()) == []


def test_metadata_that_is_not_json_publishes_nothing(registry, model):
    with pytest.raises(TypeError):
        registry.publish(model, {"x": object()}, key="k")
    assert list((registry.root / "versions").iterdir()) == []


@pytest.mark.parametrize("root", ["gs://bucket/registry", "s3://x"])
def test_not_a_local_folder(root):
    with pytest.raises(InputError, match="is a local folder"):
        LocalRegistry(root)


def test_folder_that_cannot_be_made(tmp_path, model):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="give a writable folder"):
        LocalRegistry(str(tmp_path / "file" / "registry")).publish(model, {}, key="k")


def test_aliases_move_only_from_the_expected_version(registry, model):
    one, two, three = (registry.publish(model, {}, key=f"run-{i}") for i in range(3))
    registry.swap_alias("champion", one, expected=None)
    assert registry.champion().version == one
    assert registry.alias("previous") is None
    for wrong in (None, three):
        with pytest.raises(ChampionMoved, match="another promotion came first"):
            registry.swap_alias("champion", two, expected=wrong)
    assert registry.alias("champion") == one
    registry.swap_alias("champion", two, expected=one)
    assert registry.aliases() == {"champion": two, "previous": one}
    registry.swap_alias("best", three, expected=None)  # other aliases leave `previous` alone
    assert registry.aliases() == {"champion": two, "previous": one, "best": three}


def test_rollback(registry, model):
    with pytest.raises(RegistryError, match="no previous champion"):
        registry.rollback()
    one, two = (registry.publish(model, {}, key=f"run-{i}") for i in range(2))
    registry.swap_alias("champion", one, expected=None)
    registry.swap_alias("champion", two, expected=one)
    assert registry.rollback() == (one, two)
    assert registry.aliases() == {"champion": one, "previous": two}


def test_unknown_version(registry, model):
    registry.publish(model, {}, key="k")
    with pytest.raises(RegistryError, match="no version 'v0009'; versions are v0001"):
        registry.swap_alias("champion", "v0009", expected=None)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "version.json").unlink(), r"version\.json: no such file"),
        (lambda folder: (folder / "saved_model.pb").unlink(), r"saved_model\.pb: no such file"),
        (lambda folder: (folder / "version.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "version.json").write_text('{"schema_version": 1}'), "lacks version, key"),
        (lambda folder: (folder / "version.json").write_text("[]"), "not an object"),
        (lambda folder: change(folder, schema_version=2), "schema_version is 2"),
        (lambda folder: change(folder, schema_version=True), "schema_version is True"),
        (lambda folder: change(folder, key=1), "key: is 1"),
        (lambda folder: change(folder, extra=1), "unknown key 'extra'"),
        (lambda folder: change(folder, version="v0009"), "is of version 'v0009'"),
        (lambda folder: (folder / "version.json").write_bytes(b"\xff"), "not UTF-8"),
        (lambda folder: folder.rename(folder.with_name("v0077")), "no version 'v0001'"),
    ],
)
def test_incomplete_champion_is_a_clear_error(registry, model, damage, words):
    version = registry.publish(model, {}, key="k")
    registry.swap_alias("champion", version, expected=None)
    damage(registry.root / "versions" / version)
    with pytest.raises(RegistryError, match=words):
        registry.champion()
    # A damaged version does not block the next ones, and its number is not used again.
    again = registry.publish(model, {}, key="k")
    assert again not in ("v0001", "v0077")
    assert [v.version for v in registry.list()] == [again]
    assert len(registry.incomplete()) == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"champion": 1}', '{"champion": null}', "\udcff"])
def test_damaged_aliases(registry, model, content):
    registry.publish(model, {}, key="k")
    (registry.root / "aliases.json").write_text(content, errors="surrogateescape")
    with pytest.raises(RegistryError, match=r"aliases\.json"):
        registry.champion()
    with pytest.raises(RegistryError, match=r"aliases\.json"):
        registry.swap_alias("champion", "v0001", expected=None)


# --- several processes, and processes that die ----------------------------------------------------------------------

RACE = """
import sys, time
from trainer.registry.local import LocalRegistry
from trainer.registry.base import ChampionMoved
root, version, start = sys.argv[1:]
registry = LocalRegistry(root)
time.sleep(max(0.0, float(start) - time.time()))
try:
    registry.swap_alias("champion", version, expected="v0001")
    print("won")
except ChampionMoved:
    print("lost")
"""

PUBLISH = """
import sys, time
from trainer.registry.local import LocalRegistry
root, model, key, start = sys.argv[1:]
time.sleep(max(0.0, float(start) - time.time()))
print(LocalRegistry(root).publish(model, {}, key=key))
"""

# Publishes a file that never ends: a named pipe that nobody writes to.
STUCK = """
import sys
from trainer.registry.local import LocalRegistry
LocalRegistry(sys.argv[1]).publish(sys.argv[2], {}, key="stuck")
"""


def start(code: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_one_of_many_promotions_at_once_wins(registry, model):
    names = [registry.publish(model, {}, key=f"run-{i}") for i in range(7)]
    registry.swap_alias("champion", names[0], expected=None)
    moment = time.time() + 1.0
    processes = {name: start(RACE, registry.root, name, moment) for name in names[1:]}
    outcomes = {name: process.communicate()[0].strip() for name, process in processes.items()}
    winners = [name for name, outcome in outcomes.items() if outcome == "won"]
    assert sorted(outcomes.values()) == ["lost"] * 5 + ["won"]
    assert registry.aliases() == {"champion": winners[0], "previous": "v0001"}


def test_many_publishers_at_once(registry, model):
    moment = time.time() + 1.0
    keys = ["a", "b", "c", "same", "same", "same"]
    processes = [start(PUBLISH, registry.root, model, key, moment) for key in keys]
    versions = [process.communicate()[0].strip() for process in processes]
    assert len(set(versions[3:])) == 1, "one key became several versions"
    assert sorted(set(versions)) == ["v0001", "v0002", "v0003", "v0004"]
    assert {v.version: v.key for v in registry.list()} == dict(zip(versions, keys, strict=True))
    assert len(list((registry.root / "versions").iterdir())) == 4


def test_a_publisher_that_is_killed_leaves_no_version(registry, model, tmp_path):
    stuck = make_model(tmp_path / "stuck")
    os.mkfifo(Path(stuck) / "variables" / "endless")
    process = start(STUCK, registry.root, stuck)
    versions = registry.root / "versions"
    while not list(versions.glob("tmp-*/variables")):
        assert process.poll() is None, "it ended before it copied anything"
        time.sleep(0.01)
    # While it lives, others publish as well and leave its copy alone.
    assert registry.publish(model, {}, key="one") == "v0001"
    assert len(list(versions.glob("tmp-*/variables"))) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert [v.version for v in registry.list()] == ["v0001"]
    assert registry.publish(model, {}, key="two") == "v0002"
    assert sorted(p.name for p in versions.iterdir()) == ["v0001", "v0002"], "the dead copy was not swept"


def test_what_killed_promotions_left_of_the_aliases_is_removed(registry, model):
    version = registry.publish(model, {}, key="run-1")
    left = [registry.root / f".aliases.json.tmp-{i}" for i in range(4)]
    for path in left:
        path.write_text("{")
    registry.swap_alias("champion", version, expected=None)
    assert not [path for path in left if path.exists()]
