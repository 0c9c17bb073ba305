"""What redoes what: a table of changes and of the stages that run, and the inputs that a cached task is keyed by.

The keys are kfp's own, computed for the tasks of the compiled graph from the outputs of a real data check. On Vertex AI
they are not known; there, as here, a task is keyed by its parameters, its input artifacts and its image.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp.local.cache import LocalCache

from components.support.checked import check
from components.support.run_options import RunOptions, write_options
from pipeline.graph import kfp_spec
from pipeline.graph.targets import TARGETS, Target
from pipeline.graph.training_pipeline import make_pipeline
from pipeline.local.demo_data import DemoData, generate
from tests.e2e.tiny_run import CONFIG
from tests.pipeline.graph.golden import CASES, compiled, in_a_thread

pytestmark = pytest.mark.xdist_group("compiled")  # one worker compiles each target, once

CACHED = ("preprocess", "train", "export-model", "evaluate")
"""The tasks that may take an earlier result, in their order; the others always run."""
EVERYTHING = set(CACHED)
NOTHING: set[str] = set()
FROM_TRAINING = EVERYTHING - {"preprocess"}
FROM_EXPORT = {"export-model", "evaluate"}
CHECKED = "data-check."

KEYS = {
    "preprocess": {
        "train_images",
        "train_annotations",
        "seed",
        f"{CHECKED}train_digest",
        f"{CHECKED}preprocess_config",
    },
    "train": {"preprocess.Output", "seed", f"{CHECKED}train_config"},
    "export-model": {
        "train.Output",
        "val_images",
        "val_annotations",
        f"{CHECKED}val_digest",
        f"{CHECKED}export_config",
    },
    "evaluate": {"export-model.folder", "export-model.digest", "val_images", "val_annotations", f"{CHECKED}val_digest"},
}
"""Cached task to everything that it is keyed by, besides constants and its image."""
LAUNCHER = {"service_account", "network"}
"""A custom job needs them for itself: a run under another account trains again."""


def tasks(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    dags = [spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)]
    return {name: task for dag in dags for name, task in dag["tasks"].items()}


def sources(spec: dict[str, Any], task: dict[str, Any]) -> Iterator[tuple[str, str | None, Any]]:
    """(input, where it comes from, None) of every input of a task, or (input, None, constant)."""
    given = spec["root"]["inputDefinitions"]["parameters"]
    for name, source in [*task["inputs"].get("parameters", {}).items(), *task["inputs"].get("artifacts", {}).items()]:
        if "runtimeValue" in source:
            yield name, None, source["runtimeValue"]["constant"]
        elif produced := source.get("taskOutputParameter") or source.get("taskOutputArtifact"):
            output = produced.get("outputParameterKey") or produced.get("outputArtifactKey")
            yield name, f"{produced['producerTask']}.{output}", None
        else:
            channel = source.get("componentInputParameter") or source["componentInputArtifact"]
            channel = channel.removeprefix("pipelinechannel--")
            yield name, channel if channel in given else ".".join(channel.rsplit("-", 1)), None


@pytest.mark.parametrize("case", [*CASES, "watch-vertex-gpu"])
def test_what_cached_tasks_are_keyed_by(case: str) -> None:
    """No configuration text, option, other split or placeholder of the run reaches a task that may be reused."""
    spec = compiled(case)
    cached = {name: task for name, task in tasks(spec).items() if task.get("cachingOptions", {}).get("enableCache")}
    assert set(cached) == set(CACHED)
    for name, task in cached.items():
        # Kubeflow's backend keys an input artifact by its name, which need not change with its content.
        assert "artifacts" not in task["inputs"]
        found = list(sources(spec, task))
        keys = {source for _, source, _ in found if source}
        if name == "train" and case in CASES and CASES[case].custom_job:
            assert keys >= LAUNCHER
            keys -= LAUNCHER
        assert keys == KEYS[name], name
        assert not [constant for _, _, constant in found if "{{$" in str(constant)], "differs from run to run"


@dataclass
class Run:
    """What a user gives, and the target."""

    data: Path
    arguments: dict[str, Any] = field(default_factory=dict)
    config: str = CONFIG
    target: Target = TARGETS["local"]

    def values(self) -> dict[str, Any]:
        """The pipeline's parameters."""
        paths = {f"{split}_images": str(self.data / f"{split}2017") for split in ("train", "val")}
        paths |= {
            f"{split}_annotations": str(self.data / "annotations" / f"instances_{split}2017.json")
            for split in ("train", "val")
        }
        return {**paths, "config": self.config, "seed": 0, **self.arguments}


def keys_of(run: Run, folder: Path) -> dict[str, str]:
    """Cached task to kfp's key of it; a result is at a place of its own for every key, as on this machine."""
    spec = in_a_thread(lambda: kfp_spec.as_dict(make_pipeline(run.target)))
    declared = spec["root"]["inputDefinitions"]["parameters"]
    values = {name: facts["defaultValue"] for name, facts in declared.items() if "defaultValue" in facts}
    values |= run.values()
    options = {name: values[name] for name in ("work_dir", "preprocess_on", "dataflow", "beam_args")}
    place = str(folder / "root" / "data-check" / "report")
    write_options(RunOptions(**options), place)
    data = {name: value for name, value in values.items() if name.startswith(("train_", "val_"))}
    checked = check(data, values["config"], values["runtime"], place, str(folder / "checked"))
    values |= {f"{CHECKED}{name}": value for name, value in checked._asdict().items()}
    keys: dict[str, str] = {}
    cache = LocalCache(str(folder / "cache"))
    for name in CACHED:
        task = tasks(spec)[name]
        component = task["componentRef"]["name"]
        container = spec["deploymentSpec"]["executors"][spec["components"][component]["executorLabel"]]["container"]
        arguments = {}
        for argument, source, constant in sources(spec, task):
            producer = (source or "").partition(".")[0]
            arguments[argument] = keys.get(producer) or (values[source] if source else constant)
        keys[name] = cache.compute_key(
            component,
            container["image"],
            [*container["command"], *container["args"]],
            arguments,
            {entry["name"]: entry["value"] for entry in container.get("env", [])},
        )
    return keys


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    small = DemoData(train_images=8, val_images=4, height=(96, 128), width=(96, 128), side=(30.0, 60.0))
    return Run(generate(tmp_path_factory.mktemp("data") / "coco", small))


@pytest.fixture(scope="module")
def before(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return keys_of(run, tmp_path_factory.mktemp("before"))


def configured(edit: Callable[[str], str]) -> Callable[[Run], Run]:
    return lambda run: replace(run, config=edit(run.config))


def with_section(name: str, **values: Any) -> Callable[[Run], Run]:
    def edit(text: str) -> str:
        content = yaml.safe_load(text)
        content[name] = {**content.get(name, {}), **values}
        return yaml.safe_dump(content)

    return configured(edit)


def given(**arguments: Any) -> Callable[[Run], Run]:
    return lambda run: replace(run, arguments=arguments)


def reversed_keys(text: str) -> str:
    def reverse(value: Any) -> Any:
        return {key: reverse(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    return yaml.safe_dump(reverse(yaml.safe_load(text)), sort_keys=False)


def edited(split: str, *, pixels: bool) -> Callable[[Run], Run]:
    """One image, or one box, of a split differs."""

    def change(run: Run) -> Run:
        data = run.data.parent / f"{split}-{pixels}"
        shutil.copytree(run.data, data, dirs_exist_ok=True)
        first, *_ = sorted((data / f"{split}2017").iterdir())
        annotations = data / "annotations" / f"instances_{split}2017.json"
        if pixels:
            first.write_bytes(first.read_bytes() + b"\0")
        else:
            content = json.loads(annotations.read_text())
            content["annotations"][0]["bbox"][2] -= 1
            annotations.write_text(json.dumps(content))
        # At the same place, as a data set that is edited: the path is no other one.
        run.data.rename(run.data.with_name("original"))
        data.rename(run.data)
        return run

    return change


CHANGES: dict[str, tuple[Callable[[Run], Run], set[str]]] = {
    "nothing": (lambda run: run, NOTHING),
    "a comment": (configured(lambda text: f"# mine\n{text}\n# more\n"), NOTHING),
    "the order of keys": (configured(reversed_keys), NOTHING),
    "a default that is written out": (with_section("preprocess", stride=4, jpeg_quality=95), NOTHING),
    "a default of training that is written out": (with_section("task", gradient_clip_norm=10), NOTHING),
    "1 for 1.0": (configured(lambda text: text.replace("decay_steps: 4}", "decay_steps: 4, offset: 0}")), NOTHING),
    "gate:": (with_section("gate", min_ap=0.4), NOTHING),
    "export: a bound": (with_section("export", max_score_delta=0.02), FROM_EXPORT),
    "export: what it serves": (with_section("export", flip=True), FROM_EXPORT),
    "preprocess: what shapes a record": (with_section("preprocess", jpeg_quality=90), EVERYTHING),
    "preprocess: what refuses records": (with_section("preprocess", max_reject_fraction=0.5), EVERYTHING),
    "task:": (with_section("task", augmentation={"hue": 0.0}), FROM_TRAINING),
    "trainer:": (configured(lambda text: text.replace("train_steps: 150", "train_steps: 151")), FROM_TRAINING),
    "runtime:": (with_section("runtime", enable_xla=True), FROM_TRAINING),
    "runtime, as the target's": (given(runtime='{"runtime": {"enable_xla": true}}'), FROM_TRAINING),
    "runtime: the default, as the target's": (given(runtime='{"runtime": {"enable_xla": false}}'), NOTHING),
    "seed": (given(seed=1), EVERYTHING),
    "work_dir": (given(work_dir="/elsewhere"), NOTHING),
    "beam_args": (given(beam_args="--direct_num_workers=2"), NOTHING),
    "registry": (given(registry="/elsewhere"), NOTHING),
    "run_id": (given(run_id="other"), NOTHING),
    "strict": (given(strict=True), NOTHING),
    "image": (lambda run: replace(run, target=replace(run.target, image="example.com/python-other:2")), EVERYTHING),
    "an image of the training data": (edited("train", pixels=True), EVERYTHING),
    "a box of the training data": (edited("train", pixels=False), EVERYTHING),
    "an image of the validation data": (edited("val", pixels=True), FROM_EXPORT),
    "a box of the validation data": (edited("val", pixels=False), FROM_EXPORT),
}
"""Change to the cached stages that it redoes. Every other stage always runs: it decides, or reads the outside world."""


@pytest.mark.parametrize("name", CHANGES)
def test_what_redoes_what(name: str, run: Run, before: dict[str, str], tmp_path: Path) -> None:
    change, redone = CHANGES[name]
    try:
        after = keys_of(change(replace(run)), tmp_path)
    finally:
        original = run.data.with_name("original")
        if original.exists():
            shutil.rmtree(run.data)
            original.rename(run.data)
    assert {task for task in CACHED if after[task] != before[task]} == redone


def test_how_a_run_works_reaches_its_stages_past_the_keys() -> None:
    """The data check takes the options of every run; KEYS shows that no cached task does."""
    spec = compiled("vertex-gpu")
    taken = {name for name, _, _ in sources(spec, tasks(spec)["data-check"])}
    assert {"preprocess_on", "dataflow", "beam_args", "work_dir", "runtime", "config"} < taken
