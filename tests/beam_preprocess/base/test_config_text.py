"""Finding a configuration, merging its base, and applying changes."""

from pathlib import Path

import fsspec
import pytest

from beam_preprocess.base import yaml
from beam_preprocess.base.config_text import SHIPPED, resolve
from beam_preprocess.base.errors import InputError


def _values(name: str, *changes: str) -> dict[str, dict[str, object]]:
    found = resolve(name, changes)
    values: dict[str, dict[str, object]] = yaml.load(found.text, found.where)
    assert "base" not in values
    return values


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["custom-small", "custom-small.yaml", str(SHIPPED / "custom-small.yaml")])
def test_names_and_paths_find_the_same_text(name: str) -> None:
    found = resolve(name)
    assert found.where == str(SHIPPED / "custom-small.yaml")
    assert found.text == (SHIPPED / "custom-small.yaml").read_text()  # comments included


def test_a_file_wins_over_a_shipped_name(folder: Path) -> None:
    (folder / "demo").write_text("gate: {min_ap: 0.125}")
    assert _values("demo") == {"gate": {"min_ap": 0.125}}


def test_a_uri_is_read_and_its_base_is_found_next_to_it() -> None:
    for name, text in {"a": "base: b.yaml\ngate: {min_ap: 0.1}", "b": "base: demo\nexport: {flip: true}"}.items():
        with fsspec.open(f"memory://configs/{name}.yaml", "w") as file:
            file.write(text)
    values = _values("memory://configs/a.yaml")
    assert values["gate"] == {**_values("demo")["gate"], "min_ap": 0.1}
    assert values["export"] == {"flip": True}
    with pytest.raises(InputError, match=r"memory://configs/c.yaml: no such file"):
        resolve("memory://configs/c.yaml")


def test_a_base_is_merged_key_by_key(folder: Path) -> None:
    (folder / "below").mkdir()
    (folder / "below" / "common.yaml").write_text(
        "base: custom-small\ntask: {model: {head: {input_levels: ['2_0', '2']}}}\ngate:\nexport: {parity_images: 3}"
    )
    (folder / "mine.yaml").write_text(
        "base: below/common.yaml\ngate: {min_ap: 0.9}\ntrainer: {optimizer_config: {ema: }}"
    )
    values, base = _values("mine.yaml"), _values("custom-small")
    assert values["gate"] == {**base["gate"], "min_ap": 0.9}  # the empty `gate:` between them changes nothing
    assert values["task"]["model"]["head"] == {"input_levels": ["2_0", "2"]}  # a list replaces
    assert values["task"]["train_data"] == base["task"]["train_data"]
    assert values["trainer"]["optimizer_config"] == {**base["trainer"]["optimizer_config"], "ema": None}
    assert values["export"] == {"flip": True, "parity_images": 3}
    assert list(values)[: len(base)] == list(base)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"a": "base: b.yaml", "b": "base: ./c.yaml", "c": "base: ../here/a.yaml"},
            "base: ../here/a.yaml closes a circle",
        ),
        ({"a": "base: a.yaml"}, "a.yaml: base: a.yaml closes a circle (a.yaml -> a.yaml)"),
        ({"a": "gate: {}\nbase: demo"}, "a.yaml: base: is not the first key; move it to the top"),
        ({"a": "base: 3"}, "a.yaml: base: 3 is not a name"),
        ({"a": "base:"}, "a.yaml: base: None is not a name"),
        ({"a": "base: demos"}, "a.yaml: base: config demos: no such file; did you mean 'demo'?"),
        ({"a": "base: qqq"}, "no such file; give a path or one of coco-centernet-hourglass-gpu, "),
        ({"a": "base: b.yaml", "b": "gate: {min_app: 1}"}, "b.yaml: gate.min_app: unknown key; did you mean 'min_ap'?"),
        ({"a": "base: demo\ntrainer: {train_step: 1}"}, "a.yaml: trainer.train_step: unknown key; did you mean"),
        ({"a": "trainer: ["}, "a.yaml: not YAML: line 1"),
        ({"a": "just text"}, "a.yaml: expected sections, such as `gate:`"),
        ({"a": "base: memory://nowhere/x.yaml"}, "a.yaml: base: config memory://nowhere/x.yaml: no such file"),
        ({"a": "base: zzz://x"}, "zzz://x: no file system for it"),
        (
            {chr(97 + i): f"base: {chr(98 + i)}.yaml" for i in range(12)},
            "is base number 11; at most 10 can be chained",
        ),
    ],
)
def test_what_is_wrong_with_a_file_names_the_file(
    files: dict[str, str], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = folder / "here"
    here.mkdir()
    for name, text in files.items():
        (here / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(here)
    with pytest.raises(InputError) as caught:
        resolve("a.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text_is_named(folder: Path) -> None:
    (folder / "image.yaml").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"image.yaml: cannot be read \('utf-8' codec .*\); give a YAML file"):
        resolve("image.yaml")
    with pytest.raises(InputError, match=r"^config x+: cannot be read .*; give a YAML file"):
        resolve("x" * 5000)


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ("gate.min_ap=0.75", "gate.min_ap", 0.75),
        ("gate.min_ap=1e-3", "gate.min_ap", 0.001),
        ("preprocess.image_size=[64, 96]", "preprocess.image_size", [64, 96]),
        ("export.flip=true", "export.flip", True),
        ("task.init_checkpoint=gs://a/b=c", "task.init_checkpoint", "gs://a/b=c"),
        ("task.init_checkpoint='1e-3'", "task.init_checkpoint", "1e-3"),
        ("trainer.optimizer_config.ema=", "trainer.optimizer_config.ema", None),
        ("trainer.optimizer_config.optimizer.type=adamw", "trainer.optimizer_config.optimizer.type", "adamw"),
        ("trainer.optimizer_config.optimizer.adamw.beta_1=0.8", "trainer.optimizer_config.optimizer.adamw.beta_1", 0.8),
        ("gate={min_ap: 0.25}", "gate.min_ap", 0.25),
        ("gate={min_ap: 0.25}", "gate.min_delta", -0.08),
    ],
)
def test_a_change_sets_one_key(change: str, path: str, value: object) -> None:
    found: object = _values("demo", change)
    for key in path.split("."):
        assert isinstance(found, dict)
        found = found[key]
    assert found == value
    assert type(found) is type(value)


def test_the_last_change_wins_and_the_origin_names_them_all() -> None:
    found = resolve("demo", ["gate.min_ap=0.1", "gate.min_ap=0.2"])
    assert yaml.load(found.text, "f")["gate"]["min_ap"] == 0.2
    assert found.where.endswith("demo.yaml with --set gate.min_ap=0.1 --set gate.min_ap=0.2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("gate.min_app=1", "--set gate.min_app=1: gate.min_app: unknown key; did you mean 'min_ap'?"),
        ("gates.min_ap=1", "--set gates.min_ap=1: unknown section 'gates'; did you mean 'gate'?"),
        ("min_ap=1", "--set min_ap=1: unknown section 'min_ap'"),
        ("gate=1", "--set gate=1: gate is a section; set one of its keys"),
        ("gate.min_ap", "--set gate.min_ap: expected dotted.key=value, such as gate.min_ap=0.4"),
        ("=1", "--set =1: expected dotted.key=value"),
        ("gate..min_ap=1", "expected dotted.key=value"),
        ("gate.min_ap" + ".x" * 5000 + "=1", "expected dotted.key=value"),
        ("base=demo", "--set base=demo: base: cannot be set"),
        ("gate.min_ap: 1\n", "--set gate.min_ap: 1: expected dotted.key=value"),
        ("gate.min_ap=[", "--set gate.min_ap=[: not YAML: line 1"),
        ("gate.min_ap=2024-01-01", "'2024-01-01' is a date"),
    ],
)
def test_a_wrong_change_is_named(change: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve("demo", [change])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
