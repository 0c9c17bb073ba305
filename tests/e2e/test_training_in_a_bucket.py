"""Records, checkpoints and model in a bucket, by TensorFlow's own gs://, through a kill and a resume."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.local.demo_data import DemoData, generate
from tests.e2e.tiny_run import CONFIG, REPOSITORY
from tests.gcs_emulator import GcsEmulator, gcs_emulator
from tests.loopback.tls_proxy import tensorflow_bucket

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bucket_training")]

MODEL = "gs://my-bucket/model"
EVERY_20 = "trainer.checkpoint_interval=20,trainer.train_steps=80,trainer.validation_interval=80"


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[GcsEmulator]:
    with gcs_emulator(tmp_path) as plain, tensorflow_bucket(plain, tmp_path) as (emulator, proxy):
        with emulator.in_this_process() as files:
            files.mkdir("my-bucket")
        small = DemoData(train_images=8, val_images=4, height=(96, 128), width=(96, 128), side=(30.0, 60.0))
        coco = generate(tmp_path / "coco", small)
        emulator.put("my-bucket", {f"coco/{p.relative_to(coco)}": p.read_bytes() for p in coco.rglob("*.j*")})
        (tmp_path / "tiny.yaml").write_text(CONFIG)
        yield emulator
        assert proxy.refused_to_tensorflow == []
        assert any("storage.googleapis.com/my-bucket/records%2F" in line for line in proxy.requests)


def started(bucket: GcsEmulator, folder: Path, module: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**bucket.process_environment(), "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", module, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)  # type: ignore[call-overload,no-any-return]


def done(bucket: GcsEmulator, folder: Path, module: str, *arguments: str) -> str:
    with started(bucket, folder, module, *arguments) as process:
        printed, _ = process.communicate()
    assert process.returncode == 0, printed[-4000:]
    return printed


def test_killed_and_resumed_exported_and_evaluated(bucket: GcsEmulator, tmp_path: Path) -> None:
    coco = "gs://my-bucket/coco"
    annotations = [f"{coco}/annotations/instances_{split}2017.json" for split in ("train", "val")]
    preprocess = ["--images", f"{coco}/train2017", "--annotations", annotations[0]]
    where = ["--split", "train", "--output", "gs://my-bucket/records", "--config", "tiny.yaml"]
    done(bucket, tmp_path, "beam_preprocess", *preprocess, *where)

    train = ["--model_dir", MODEL, "--records", "gs://my-bucket/records", "--config_file", "tiny.yaml"]
    train += ["--params_override", EVERY_20]
    with started(bucket, tmp_path, "trainer.train", *train) as process:
        assert process.stdout
        for line in process.stdout:
            if "progress: " in line and "model/ckpt-20.index" in bucket.storage.objects["my-bucket"]:
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.read()
    assert process.returncode == -signal.SIGKILL, "it had not ended"
    assert "model/train.json" not in bucket.storage.objects["my-bucket"]

    printed = done(bucket, tmp_path, "trainer.train", *train)
    assert f"to 80, resumed from {MODEL}" in printed, printed
    names = set(bucket.storage.objects["my-bucket"])
    assert json.loads(bucket.storage.get_file("my-bucket", "model/train.json"))["steps"] == 80
    assert {"model/ckpt-80.index", "model/ckpt-80.data-00000-of-00001"} <= names
    assert not [name for name in names if "_temp/" in name or ".tempstate" in name], "nothing half-written is left"

    export = "gs://my-bucket/export"
    done(bucket, tmp_path, "trainer.export", "--checkpoint", MODEL, "--output", export, "--config", "tiny.yaml")
    assert "export/saved_model.pb" in bucket.storage.objects["my-bucket"]
    data = ["--images", f"{coco}/val2017", "--annotations", annotations[1]]
    done(bucket, tmp_path, "trainer.evaluate", "--model", export, *data, "--output", "gs://my-bucket/evaluation")
    assert "evaluation/evaluation.json" in bucket.storage.objects["my-bucket"]
