"""`kill -9` of real runs at any moment: nothing half is readable as finished, and a rerun gives the same bytes."""

import hashlib
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_preprocess import manifest as manifests
from beam_preprocess.config import PreprocessConfig
from beam_preprocess.inspection import verify
from beam_preprocess.manifest import Manifest
from beam_preprocess.pipeline import preprocess

CONFIG = PreprocessConfig(image_size=(64, 64), train_views=4)


def run(images: str, annotations: str, output: str, options: dict[str, Any]) -> None:
    """In a process of its own: a session too, so that its workers can be killed with it."""
    os.setsid()
    preprocess(images=images, annotations=annotations, split="train", output=output, config=CONFIG, **options)


def start(data: Any, output: Path, **options: Any) -> Any:
    # A fork server imports Beam once; forking this process instead would copy gRPC's threads halfway.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "beam_preprocess.pipeline"])
    process = context.Process(target=run, args=(str(data.images), str(data.annotations), str(output), options))
    process.start()
    return process


def contents(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir()) if p.is_file()}


def kill_and_rerun(data: Any, tmp_path: Path, moments: list[float], options: dict[str, Any]) -> None:
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
        time.sleep(moment * duration)
        if victim.is_alive():
            os.killpg(victim.pid, signal.SIGKILL) if os.getpgid(victim.pid) == victim.pid else victim.kill()
        victim.join()
        interrupted += victim.exitcode == -signal.SIGKILL
        left = contents(out)
        if manifests.NAME in left and left != stale:  # marked ready: then all of it is there, and nothing else
            manifest = Manifest.from_json((out / manifests.NAME).read_text(), str(out))
            if manifest.parameters["num_shards"] == 6:
                assert verify(str(out), manifest) == []
                assert contents(out).keys() == expected.keys()
            else:  # killed before it touched a shard; only a plan or a probe may lie beside the old ones
                assert stale.items() <= left.items()
        rerun = start(data, out, num_shards=6, **options)
        rerun.join()
        assert rerun.exitcode == 0
        assert contents(out) == expected
        assert len(list(out.iterdir())) == len(expected), "orphans are left"
    assert interrupted, "every run ended before it was killed: nothing was tested"


def test_a_killed_run_is_made_good_by_the_next(make_data: Any, tmp_path: Path) -> None:
    kill_and_rerun(make_data(40), tmp_path, [0.35, 0.7], {})


@pytest.mark.slow
def test_kills_at_many_random_moments(make_data: Any, tmp_path: Path) -> None:
    moments = np.random.default_rng().uniform(0.05, 1.0, 20).tolist()
    print(moments)
    kill_and_rerun(make_data(120), tmp_path, moments, {})


@pytest.mark.slow
def test_kills_with_worker_processes(make_data: Any, tmp_path: Path) -> None:
    kill_and_rerun(make_data(120), tmp_path, [0.5, 0.8, 0.95], {"num_workers": 2})
