"""What the records digest knows about code."""

from pathlib import Path

import pytest

from beam_preprocess.code_version import CODE, LIBRARIES, _digest, code_version

PACKAGE = Path(__file__).parents[2] / "beam_preprocess"
VERSIONS = {library.__name__: library.__version__ for library in LIBRARIES}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for name in CODE:
        (tmp_path / name).write_bytes((PACKAGE / name).read_bytes())
    return tmp_path


def test_the_same_code_elsewhere_has_the_same_version(copied: Path) -> None:
    assert _digest(copied, VERSIONS) == code_version()


@pytest.mark.parametrize("name", CODE)
def test_a_change_of_any_file_is_another_version(copied: Path, name: str) -> None:
    (copied / name).write_bytes((copied / name).read_bytes() + b"\n")
    assert _digest(copied, VERSIONS) != code_version()


@pytest.mark.parametrize("library", VERSIONS)
def test_another_version_of_a_library_is_another_version(copied: Path, library: str) -> None:
    assert _digest(copied, {**VERSIONS, library: "0.0"}) != code_version()


def test_every_module_that_shapes_records_is_in_it() -> None:
    """A new module belongs in `CODE` unless it is one of these, which don't touch a record's bytes."""
    driver = {"__init__", "__main__", "check", "config", "dataflow", "errors", "manifest", "options", "output"}
    driver |= {"pipeline", "check_cli", "code_version", "flags", "inspection", "preview", "storage", "yaml_loader"}
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    assert {Path(name).stem for name in CODE} == modules - driver - {"progress", "read_ahead", "sources"}
