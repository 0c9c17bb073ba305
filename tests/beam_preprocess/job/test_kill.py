"""`kill -9` of real runs at any moment: nothing half is readable as finished, and a rerun gives the same bytes."""

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_preprocess.format import manifest as manifests
from beam_preprocess.format.config import PreprocessConfig
from beam_preprocess.format.manifest import Manifest
from beam_preprocess.inspection.record_folder import damaged_shards
from beam_preprocess.job.pipeline import preprocess

ROOT = Path(__file__).parents[3]
WORKER = "beam_preprocess.engine.local_worker"
CONFIG = PreprocessConfig(image_size=(64, 64), train_views=4)


def run(images: str, annotations: str, output: str, options: dict[str, Any]) -> None:
    """In a process of its own: a session too, so that its workers can be killed with it."""
    os.setsid()
    preprocess(images=images, annotations=annotations, split="train", output=output, config=CONFIG, **options)


def start(data: Any, output: Path, **options: Any) -> Any:
    # A fork server imports Beam once; forking this process instead would copy gRPC's threads halfway.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "beam_preprocess.job.pipeline"])
    process = context.Process(target=run, args=(str(data.images), str(data.annotations), str(output), options))
    process.start()
    return process


def contents(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir()) if p.is_file()}


WRITING = "as soon as it writes a shard"
"""A moment that no other load on the machine moves behind the run's end."""
SHARD_OF_SIX = "*-of-00006.tfrecord*"


def kill_and_rerun(data: Any, tmp_path: Path, moments: list[float | str], options: dict[str, Any]) -> None:
    """Kills at these fractions of an undisturbed run's time, each time in a folder that holds other, older records."""
    (tmp_path / "logs").mkdir()
    whole = start(data, tmp_path / "undisturbed", num_shards=6, **options)
    began = time.monotonic()
    whole.join()
    duration = time.monotonic() - began
    assert whole.exitcode == 0
    expected = contents(tmp_path / "undisturbed")
    interrupted = 0
    for number, moment in enumerate(moments):
        out = tmp_path / f"killed-{number}"
        run_in_process = start(data, out, num_shards=3)  # of another count: its shards are stale for what follows
        run_in_process.join()
        assert run_in_process.exitcode == 0
        stale = contents(out)
        victim = start(data, out, num_shards=6, **options)
        if isinstance(moment, str):
            wait_for(partial(_writes_or_ended, out, victim), every=0.002)
        else:
            time.sleep(moment * duration)
        if victim.is_alive():
            os.killpg(victim.pid, signal.SIGKILL) if os.getpgid(victim.pid) == victim.pid else victim.kill()
        victim.join()
        interrupted += victim.exitcode == -signal.SIGKILL
        left = contents(out)
        if manifests.NAME in left and left != stale:  # marked ready: then all of it is there, and nothing else
            manifest = Manifest.from_json((out / manifests.NAME).read_text(), str(out))
            if manifest.parameters["num_shards"] == 6:
                assert damaged_shards(str(out), manifest) == []
                assert contents(out).keys() == expected.keys()
            else:  # killed before it touched a shard; only a plan or a probe may lie beside the old ones
                assert stale.items() <= left.items()
        rerun = start(data, out, num_shards=6, **options)
        rerun.join()
        assert rerun.exitcode == 0
        assert contents(out) == expected
        assert len(list(out.iterdir())) == len(expected), "orphans are left"
    assert interrupted, "every run ended before it was killed: nothing was tested"


def _writes_or_ended(out: Path, process: Any) -> bool:
    return any(out.glob(SHARD_OF_SIX)) or not process.is_alive()


def test_a_killed_run_is_made_good_by_the_next(make_data: Any, tmp_path: Path) -> None:
    kill_and_rerun(make_data(40), tmp_path, [WRITING], {})


@pytest.mark.slow
def test_kills_at_many_random_moments(make_data: Any, tmp_path: Path) -> None:
    moments: list[float | str] = np.random.default_rng().uniform(0.05, 1.0, 20).tolist()
    print(moments)
    kill_and_rerun(make_data(120), tmp_path, moments, {})


@pytest.mark.slow
def test_kills_with_worker_processes(make_data: Any, tmp_path: Path) -> None:
    kill_and_rerun(make_data(120), tmp_path, [0.5, 0.8, 0.95], {"num_workers": 2})


def session(leader: int) -> dict[int, str]:
    """The living processes of a session: pid to command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, owner = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:4]
            if int(owner) == leader and state != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
    return found


def wait_for(condition: Callable[[], Any], every: float = 0.05) -> Any:
    deadline = time.monotonic() + 120
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(every)
    assert found, "waited for two minutes"
    return found


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["a worker", "the driver"])
def test_one_process_of_several_is_killed(make_data: Any, tmp_path: Path, victim: str) -> None:
    """As the kernel does when memory runs out: the others end by themselves, and a rerun makes it good."""
    data = make_data(120)
    start(data, tmp_path / "undisturbed", num_shards=6).join()
    out = tmp_path / "out"
    driver = start(data, out, num_shards=6, num_workers=2)
    wait_for(lambda: list(out.glob("*.tfrecord.tmp-*")))
    workers = [pid for pid, command in session(driver.pid).items() if command.split()[1:3] == ["-m", WORKER]]
    assert len(workers) == 2
    os.kill(workers[0] if victim == "a worker" else driver.pid, signal.SIGKILL)
    driver.join(120)
    assert driver.exitcode == (1 if victim == "a worker" else -signal.SIGKILL)
    wait_for(lambda: not session(driver.pid))
    assert not (out / manifests.NAME).exists()
    start(data, out, num_shards=6).join()
    assert contents(out) == contents(tmp_path / "undisturbed")
    assert len(list(out.iterdir())) == len(contents(out)), "orphans are left"


@pytest.mark.slow
def test_workers_end_soon_when_the_driver_is_killed_while_they_start(make_data: Any, tmp_path: Path) -> None:
    driver = start(make_data(12), tmp_path / "out", num_shards=6, num_workers=2)
    wait_for(lambda: [c for c in session(driver.pid).values() if WORKER in c])
    os.kill(driver.pid, signal.SIGKILL)
    killed = time.monotonic()
    driver.join(120)
    wait_for(lambda: not session(driver.pid))
    assert time.monotonic() - killed < 30  # importing Beam included; 120 s without the look at the driver
    assert not (tmp_path / "out" / manifests.NAME).exists()


@pytest.mark.slow
def test_a_second_run_in_the_same_folder_ends_the_first_and_is_whole(make_data: Any, tmp_path: Path) -> None:
    data, out = make_data(120), tmp_path / "out"
    first = start(data, out, num_shards=6)
    wait_for(lambda: list(out.glob("*.tfrecord.tmp-*")))
    os.kill(first.pid, signal.SIGSTOP)
    second = start(data, out, num_shards=6)
    second.join()
    os.kill(first.pid, signal.SIGCONT)
    first.join()
    assert (first.exitcode, second.exitcode) == (1, 0)
    manifest = Manifest.from_json((out / manifests.NAME).read_text(), str(out))
    assert damaged_shards(str(out), manifest) == []


@pytest.mark.parametrize("flags", [[], pytest.param(["--num-threads", "2"], marks=pytest.mark.slow)])
def test_an_interrupt_ends_the_command_with_one_line(make_data: Any, tmp_path: Path, flags: list[str]) -> None:
    data = make_data(64)
    arguments = ["--images", str(data.images), "--annotations", str(data.annotations), "--split", "train"]
    arguments += ["--output", str(tmp_path / "out"), "--image-size", "384", "--num-shards", "2", *flags]
    command = [sys.executable, "-m", "beam_preprocess", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    wait_for(lambda: list(tmp_path.glob("out/*.tfrecord.tmp-*")) or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (1, "interrupted; rerun the same command to start over\n")
    assert not (tmp_path / "out" / manifests.NAME).exists()
