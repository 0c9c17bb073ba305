import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.made_records import TINY_CONFIG
from trainer.aot import environment
from trainer.aot.__main__ import main
from trainer.aot.compile import REPORT, explore

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("batches", "search", "tried"),
    [
        ([16, 8], False, {"small": [8, 16], "large": [8, 16]}),
        ([64, 8, 16], False, {"small": [8, 16], "large": [8, 16, 64]}),  # 16 doesn't fit the small one: 64 can't
        ([4], True, {"small": [4, 8, 16], "large": [4, 8, 16, 32, 64]}),  # to the first that doesn't fit
        ([3, 8], True, {"small": [3, 8, 16], "large": [3, 8, 16, 32, 64]}),
        ([128], True, {"small": [128], "large": [128]}),
    ],
)
def test_which_batches_are_tried(batches: list[int], search: bool, tried: dict[str, list[int]]) -> None:
    """Chips with room for 8 and for 32 images per core."""
    room = {"small": 8, "large": 32}

    def compiled(batch: int, topologies: list[str]) -> list[dict[str, Any]]:
        return [{"topology": name, "batch": batch, "fits": batch <= room[name]} for name in topologies]

    rows = explore(batches, list(room), compiled, search=search)
    assert {name: [row["batch"] for row in rows if row["topology"] == name] for name in room} == tried


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aot") / "tiny.yaml"
    path.write_text(f"{TINY_CONFIG}".replace("one_device", "one_device\n  mixed_precision_dtype: bfloat16"))
    return path


def command(verb: str, config: Path, output: Path, *more: str) -> list[str]:
    given = f"--config={config} --output={output} --environment={REPOSITORY / environment.FOLDER}".split()
    return [verb, *given, "--num-classes=3", "--max-cells=512", "--max-objects=8", *more]


@pytest.mark.slow
def test_a_small_step_compiles_for_absent_tpus(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A batch that fits, a second call that reuses the first one's result, a batch far too large, and an error."""
    flags = command("compile", config, tmp_path, "--batch", "2", "--topology", "v5e:2x2", "v3:2x2")
    assert main(flags) == 0
    output = capsys.readouterr().out
    assert "v5e:2x2: of the batches tried, 2 images per core fit, a global batch of 8 on its 4 cores" in output
    assert "the configuration's 4 was not tried" not in output
    report = json.loads((tmp_path / REPORT).read_text())
    assert report["precision"] == "bfloat16"
    small, other = report["results"]
    assert (small["device"], small["cores"], small["hbm_bytes"], small["fits"]) == ("TPU v5 lite", 4, 16 << 30, True)
    assert (other["device"], other["cores"], other["fits"]) == ("TPU v3", 8, True)
    # At least the three copies of the weights.
    assert 12 * report["parameters"] < small["peak_bytes"] < 1 << 30
    assert small["flops"] > 1e6

    assert main(flags) == 0
    assert "compiling" not in capsys.readouterr().out, "nothing is compiled twice"
    assert main(command("compile", config, tmp_path, "--batch", "2", "--topology", "v9:2x2")) == 2
    assert "--topology v9:2x2: libtpu has no such topology" in capsys.readouterr().err
    assert main(command("compile", config, tmp_path, "--batch", "262144", "--topology", "v5e:2x2")) == 1
    assert "does not fit: RESOURCE_EXHAUSTED" in capsys.readouterr().out


@pytest.mark.slow
def test_a_carried_folder_is_complete(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command("carry", config, tmp_path, "--batch", "2", "--precision", "float16")) == 0
    folder = tmp_path / "float16-2"
    assert f"result: {folder}: copy it to the other machine and run `python run.py time .`" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["run.py", "step.json", "step.stablehlo"]
    python = environment.ensure(str(REPOSITORY / environment.FOLDER))
    timed = [python, "run.py", "time", ".", "--steps=2", "--repeats=1", "--result=timing.json"]
    subprocess.run(timed, cwd=folder, check=True, env={"JAX_PLATFORMS": "cpu"}, stdout=subprocess.DEVNULL)
    timing = json.loads((folder / "timing.json").read_text())
    assert (timing["platform"], timing["precision"], timing["batch"]) == ("cpu", "float16", 2)
    assert timing["images_per_second"] == pytest.approx(2e3 / timing["milliseconds"], rel=0.01)
