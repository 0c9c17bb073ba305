"""What of kfp's local cache may be used."""

import json
from pathlib import Path

import pytest

from pipeline.local import cache as local_cache
from pipeline.local.cache import open_cache, origin


def entry(cache: Path, key: str, name: str, uri: Path) -> Path:
    """As kfp writes it."""
    path = cache / f"{key}.json"
    value = {"__kfp_artifact__": True, "schema_title": "system.Model", "name": name, "uri": str(uri), "metadata": {}}
    path.write_text(json.dumps({name: value, "Output": 3}))
    return path


def test_an_entry_stays_while_its_result_is_whole(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    result = tmp_path / "1" / "stages" / "x"
    result.mkdir(parents=True)
    (result / "train.json").write_text("")
    path = entry(cache, "abcdef", "checkpoint", result / "train.json")
    assert open_cache(tmp_path) == cache
    assert path.exists()
    assert origin(cache, "abc") == str(result)
    assert origin(cache, "0") == ""
    (result / "train.json").unlink()
    open_cache(tmp_path)
    assert not path.exists(), "the folder alone is no result"


def test_an_entry_that_cannot_be_read_is_removed(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    for name, text in (("cut", '{"model": '), ("list", "[]")):
        (cache / f"{name}.json").write_text(text)
    open_cache(tmp_path)
    assert list(cache.iterdir()) == []


def test_other_code_and_other_libraries_find_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_cache(tmp_path)
    assert open_cache(tmp_path) == before
    monkeypatch.setattr(local_cache, "installed_versions", lambda: {"tensorflow": "3.0"})
    assert open_cache(tmp_path) != before
    monkeypatch.undo()
    code = tmp_path / "code"
    for package in local_cache.PACKAGES:
        (code / package).mkdir(parents=True)
    monkeypatch.setattr(local_cache, "REPOSITORY", code)
    empty = open_cache(tmp_path)
    (code / "trainer" / "new.py").write_text("")
    assert open_cache(tmp_path) not in (before, empty)
