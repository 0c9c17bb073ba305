import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from beam_preprocess.base.errors import InputError
from trainer.registry.__main__ import main
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
    with pytest.raises(InputError, match=r"holds no saved_model\.pb"):
        registry.publish(str(tmp_path / folder), {}, key="k")
    assert registry.list() == ()
    assert list((registry.root / "versions").iterdir()) == []


def test_metadata_that_is_no_json_publishes_nothing(registry, model):
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
        (lambda folder: (folder / "version.json").unlink(), r"no version\.json"),
        (lambda folder: (folder / "saved_model.pb").unlink(), r"no saved_model\.pb"),
        (lambda folder: (folder / "version.json").write_text("{"), "is damaged"),
        (lambda folder: (folder / "version.json").write_text('{"schema_version": 1}'), "is damaged"),
        (lambda folder: (folder / "version.json").write_text("[]"), "is damaged"),
        (lambda folder: folder.rename(folder.with_name("v0077")), "no version 'v0001'"),
    ],
)
def test_incomplete_champion_is_a_clear_error(registry, model, damage, words):
    version = registry.publish(model, {}, key="k")
    registry.swap_alias("champion", version, expected=None)
    damage(registry.root / "versions" / version)
    with pytest.raises(RegistryError, match=words):
        registry.champion()
    # A damaged version does not block the next ones, and its number is not given again.
    again = registry.publish(model, {}, key="k")
    assert again not in ("v0001", "v0077")
    assert [v.version for v in registry.list()] == [again]
    assert len(registry.incomplete()) == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"champion": 1}'])
def test_damaged_aliases(registry, model, content):
    registry.publish(model, {}, key="k")
    (registry.root / "aliases.json").write_text(content)
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

# Publishes a file that never ends: a named pipe which nobody writes to.
STUCK = """
import sys
from trainer.registry.local import LocalRegistry
LocalRegistry(sys.argv[1]).publish(sys.argv[2], {}, key="stuck")
"""


def start(code: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_of_many_promotions_at_once_one_wins(registry, model):
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
    # While it lives, others publish past it and leave its copy alone.
    assert registry.publish(model, {}, key="one") == "v0001"
    assert len(list(versions.glob("tmp-*/variables"))) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert [v.version for v in registry.list()] == ["v0001"]
    assert registry.publish(model, {}, key="two") == "v0002"
    assert sorted(p.name for p in versions.iterdir()) == ["v0001", "v0002"], "the dead copy was not swept"


# --- the command line ---------------------------------------------------------------------------------------------


def test_command_line(registry, model, capsys):
    root = ["--registry", str(registry.root)]
    for i, ap in enumerate((0.5, 0.625)):
        registry.publish(model, {"ap": ap}, key=f"run-{i}")
    registry.swap_alias("champion", "v0001", expected=None)
    registry.swap_alias("champion", "v0002", expected="v0001")
    assert main(["list", *root]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["v0001", "v0002"]
    assert lines[0].endswith("AP 0.5000  previous")
    assert lines[1].endswith("AP 0.6250  champion")
    assert main(["show", *root]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "v0002"
    assert main(["show", "previous", *root]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "v0001"
    assert main(["rollback", *root]) == 0
    assert capsys.readouterr().out == "champion is v0001 again (was v0002)\n"
    (registry.root / "versions" / "v0002" / "version.json").unlink()
    assert main(["list", *root]) == 0
    assert "v0002  incomplete" in capsys.readouterr().out
    assert main(["rollback", *root]) == 1
    assert "incomplete" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["list", "show", "rollback"])
def test_command_line_without_registry(tmp_path, capsys, verb):
    assert main([verb, "--registry", str(tmp_path / "absent")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_as_a_process(registry, model):
    registry.publish(model, {}, key="k")
    command = [sys.executable, "-m", "trainer.registry", "rollback", "--registry", str(registry.root)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
