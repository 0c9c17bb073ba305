from pathlib import Path

import pytest

from tests.trainer.made_records import TINY_CONFIG, write_records


@pytest.fixture(scope="session")
def records_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training records: 10 images, 2 views."""
    folder = tmp_path_factory.mktemp("train-records")
    write_records(folder, images=10, views=2)
    return folder


@pytest.fixture(scope="session")
def val_records_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Validation records: 6 images, not a multiple of the batch of 4."""
    folder = tmp_path_factory.mktemp("val-records")
    write_records(folder, images=6, views=1, split="val", shards=1)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, records_folder: Path, val_records_folder: Path) -> Path:
    """The model folder of a finished training of six steps."""
    from trainer.training.run import train

    folder = tmp_path_factory.mktemp("trained") / "model"
    train(
        records=str(records_folder),
        output=str(folder),
        config=TINY_CONFIG,
        val_records=str(val_records_folder),
        params_override="trainer.validation_interval=6",
    )
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Path:
    """Its SavedModel."""
    from trainer.saved_model.building import export

    folder = tmp_path_factory.mktemp("exported") / "saved_model"
    export(checkpoint=str(trained), output=str(folder))
    return folder
