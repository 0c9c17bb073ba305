import fcntl
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.made_records import TINY_CONFIG, write_records


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder of this test run, filled by the first worker that needs it; the others wait. For reading only."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder.with_suffix(".done")
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def records_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training records: 10 images, 2 views."""
    return made_once(tmp_path_factory, "records", lambda folder: write_records(folder, images=10, views=2))


@pytest.fixture(scope="session")
def val_records_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Validation records: 6 images, not a multiple of the batch of 4."""
    return made_once(
        tmp_path_factory,
        "val-records",
        lambda folder: write_records(folder, images=6, views=1, split="val", shards=1),
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, records_folder: Path, val_records_folder: Path) -> Path:
    """The model folder of a finished training of six steps."""
    from trainer.training.run import train

    return made_once(
        tmp_path_factory,
        "trained",
        lambda folder: train(
            records=str(records_folder),
            output=str(folder),
            config=TINY_CONFIG,
            val_records=str(val_records_folder),
            params_override="trainer.validation_interval=6",
        ),
    )


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Iterator[Path]:
    """Its SavedModel, which each worker loads once: a load takes a second or two, and nothing changes what it gives."""
    import tensorflow as tf

    from trainer.saved_model.building import export

    folder = made_once(tmp_path_factory, "exported", lambda folder: export(checkpoint=str(trained), output=str(folder)))
    load = tf.saved_model.load
    kept = functools.cache(lambda: load(str(folder)))

    def loaded(path: str, *arguments: Any, **options: Any) -> Any:
        return kept() if (path, arguments, options) == (str(folder), (), {}) else load(path, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.saved_model, "load", loaded)
        yield folder
