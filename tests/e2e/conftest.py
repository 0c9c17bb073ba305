import shutil

import pytest

from tests.e2e.tiny_run import Ran, make_data, pipeline


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A whole run, for reading. It takes a minute: files whose tests take it are the group `local_run`."""
    folder = tmp_path_factory.mktemp("run")
    make_data(folder)
    process = pipeline(folder, "run", "--coco-dir", "coco", "--config", "tiny.yaml")
    assert process.returncode == 0, process.stdout + process.stderr
    shutil.copytree(folder / "registry", folder / "registry-of-first")
    return Ran(folder, process)
