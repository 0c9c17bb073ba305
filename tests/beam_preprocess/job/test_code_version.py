"""The code version in the records digest."""

from pathlib import Path

import pytest

from beam_preprocess.job.code_version import LIBRARIES, RECORD_CODE, _digest, code_version

PACKAGE = Path(__file__).parents[3] / "beam_preprocess"
VERSIONS = {library.__name__: library.__version__ for library in LIBRARIES}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for name in RECORD_CODE:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((PACKAGE / name).read_bytes())
    return tmp_path


def test_the_same_code_elsewhere_has_the_same_version(copied: Path) -> None:
    assert _digest(copied, VERSIONS) == code_version()


@pytest.mark.parametrize("name", RECORD_CODE)
def test_a_change_of_any_file_is_another_version(copied: Path, name: str) -> None:
    (copied / name).write_bytes((copied / name).read_bytes() + b"\n")
    assert _digest(copied, VERSIONS) != code_version()


@pytest.mark.parametrize("library", VERSIONS)
def test_another_version_of_a_library_is_another_version(copied: Path, library: str) -> None:
    assert _digest(copied, {**VERSIONS, library: "0.0"}) != code_version()


def test_every_module_that_shapes_records_is_in_it() -> None:
    """A new module belongs in `RECORD_CODE`, unless it is one of these, which do not affect a record's bytes."""
    others = {
        *("format/config.py", "format/manifest.py"),
        "dataset/check.py",
        *(f"dataset/{name}.py" for name in ("foreign", "image_check", "near_duplicates", "sizes")),
        *(f"dataset/{name}.py" for name in ("split", "suspicious_boxes", "suspicious_classes", "warnings")),
        *(f"format/{name}.py" for name in ("file_names", "fingerprints", "scored_file", "sources")),
        *("job/code_version.py", "job/output.py", "job/pipeline.py"),
    }
    rooms = ("format", "dataset", "job")
    modules = {f"{room}/{path.name}" for room in rooms for path in (PACKAGE / room).glob("*.py")}
    assert set(RECORD_CODE) == {name for name in modules if not name.endswith("__init__.py")} - others
