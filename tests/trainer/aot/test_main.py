import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.made_records import TINY_CONFIG
from trainer.aot import __main__ as aot
from trainer.aot import environment as aot_environment
from trainer.aot import report as aot_report
from trainer.aot import xla as aot_xla

REPOSITORY = Path(__file__).parents[3]
FITS = {
    "topology": "v5e:2x2",
    "device": "TPU v5 lite",
    "cores": 4,
    "hbm_bytes": 16 << 30,
    "batch_per_core": 8,
    "global_batch": 32,
    "fits": True,
    "seconds": 300.0,
    "peak_bytes": 6 << 30,
    "flops": 13.8e12,
    "least_seconds": 0.07,
}
DOES_NOT = {
    **{name: FITS[name] for name in ("topology", "device", "cores", "hbm_bytes", "seconds")},
    **{"batch_per_core": 64, "global_batch": 256, "fits": False, "reason": "RESOURCE_EXHAUSTED"},
}


def test_the_table_and_the_largest_batch() -> None:
    report = {"configured_batch": 32, "results": [FITS, DOES_NOT, {**DOES_NOT, "topology": "v2:2x2"}]}
    head, fits, does_not, other = aot_report.table(report).splitlines()
    assert " ".join(head.split()) == "topology cores a core global fits HBM peak / core TFLOP/step ms at peak"
    assert " ".join(fits.split()) == "v5e:2x2 4 8 32 yes 6.00 / 16 GiB 13.80 70.0"
    assert " ".join(does_not.split()) == "v5e:2x2 4 64 256 no too much"
    assert other.startswith("v2:2x2")
    v5e, v2 = aot_report.conclusions(report)
    assert v5e == (
        "result: v5e:2x2: of the batches tried, 8 images a core fit and 64 do not: a global batch of 32 on its 4 "
        "cores; the configuration's 32, 8 a core, fits"
    )
    assert v2 == "result: v2:2x2: of the batches tried, none fits; the configuration's 32 was not tried: --batch 8"


@pytest.mark.parametrize(
    ("configured", "said"),
    [
        (16, "16, 4 a core, fits"),  # a larger one does
        (128, "128 was not tried: --batch 32"),  # between the two
        (512, "512, 128 a core, does not fit"),  # a smaller one doesn't
        (30, "30 is no multiple of its 4 cores"),
    ],
)
def test_what_is_said_of_the_configurations_own_batch(configured: int, said: str) -> None:
    (line,) = aot_report.conclusions({"configured_batch": configured, "results": [FITS, DOES_NOT]})
    assert line.endswith(f"; the configuration's {said}")


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
    """Chips with room for 8 and for 32 images a core."""
    room = {"small": 8, "large": 32}

    def compiled(batch: int, topologies: list[str]) -> list[dict[str, Any]]:
        return [{"topology": name, "batch": batch, "fits": batch <= room[name]} for name in topologies]

    rows = aot.explore(batches, list(room), compiled, search=search)
    assert {name: [row["batch"] for row in rows if row["topology"] == name] for name in room} == tried


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config_file", "nothing.yaml"], "nothing.yaml: no such file"),
        (["--batch", "0"], "--batch 0: set 1 or more"),
        (["--environment", "made here", "--python", "nowhere/python3.12"], "needs uv and Python 3.12"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for verb in ("compile", "carry"):
        assert aot.main([verb, *flags]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert message in line
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "made here" / ".installed").exists(), "what is half made isn't taken for whole"


def test_the_lock_has_the_version_that_the_script_asks_for() -> None:
    assert f"jax=={aot_xla.JAX}\n" in aot_environment.LOCK.read_text()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aot") / "tiny.yaml"
    path.write_text(f"{TINY_CONFIG}".replace("one_device", "one_device\n  mixed_precision_dtype: bfloat16"))
    return path


def command(verb: str, config: Path, output: Path, *more: str) -> list[str]:
    given = f"--config_file={config} --output={output} --environment={REPOSITORY / aot_environment.FOLDER}".split()
    return [verb, *given, "--num_classes=3", "--max_cells=512", "--max_objects=8", *more]


@pytest.mark.slow
def test_a_small_step_compiles_for_tpus_that_are_not_here(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A batch that fits, a second call that finds the first one's result, a batch far too large, and an error."""
    flags = command("compile", config, tmp_path, "--batch", "2", "--topology", "v5e:2x2", "v3:2x2")
    assert aot.main(flags) == 0
    output = capsys.readouterr().out
    assert "v5e:2x2: of the batches tried, 2 images a core fit: a global batch of 8 on its 4 cores" in output
    assert "the configuration's 4 was not tried" not in output
    report = json.loads((tmp_path / aot.REPORT).read_text())
    assert report["precision"] == "bfloat16"
    small, other = report["results"]
    assert (small["device"], small["cores"], small["hbm_bytes"], small["fits"]) == ("TPU v5 lite", 4, 16 << 30, True)
    assert (other["device"], other["cores"], other["fits"]) == ("TPU v3", 8, True)
    # The three copies of the weights at least.
    assert 12 * report["parameters"] < small["peak_bytes"] < 1 << 30
    assert small["flops"] > 1e6

    assert aot.main(flags) == 0
    assert "compiling" not in capsys.readouterr().out, "nothing is compiled twice"
    assert aot.main(command("compile", config, tmp_path, "--batch", "2", "--topology", "v9:2x2")) == 2
    assert "--topology v9:2x2: libtpu offers no such one" in capsys.readouterr().err
    assert aot.main(command("compile", config, tmp_path, "--batch", "262144", "--topology", "v5e:2x2")) == 1
    assert "does not fit: RESOURCE_EXHAUSTED" in capsys.readouterr().out


@pytest.mark.slow
def test_a_carried_folder_is_whole(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert aot.main(command("carry", config, tmp_path, "--batch", "2", "--precision", "float16")) == 0
    folder = tmp_path / "float16-2"
    assert f"result: {folder}: there, run `python run.py time .`" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["run.py", "step.json", "step.stablehlo"]
    python = aot_environment.ensure(str(REPOSITORY / aot_environment.FOLDER))
    timed = [python, "run.py", "time", ".", "--steps=2", "--repeats=1", "--result=timing.json"]
    subprocess.run(timed, cwd=folder, check=True, env={"JAX_PLATFORMS": "cpu"}, stdout=subprocess.DEVNULL)
    timing = json.loads((folder / "timing.json").read_text())
    assert (timing["platform"], timing["precision"], timing["batch"]) == ("cpu", "float16", 2)
    assert timing["images_per_second"] == pytest.approx(2e3 / timing["milliseconds"], rel=0.01)
