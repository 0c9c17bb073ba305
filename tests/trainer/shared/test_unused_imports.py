"""Modules that stay empty until something of them is used; tests/test_imports.py looks at Model Garden's."""

import importlib
import sys
from pathlib import Path

import pytest

from trainer.shared.unused_imports import Placeholders


def test_a_module_is_loaded_at_its_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "costly_module.py").write_text("LOADED = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [Placeholders(["costly_module"]), *sys.meta_path])
    module = importlib.import_module("costly_module")
    assert importlib.import_module("costly_module") is module
    assert not hasattr(module, "__file__") and "LOADED" not in vars(module)
    assert module.LOADED
    assert importlib.import_module("costly_module") is not module
    assert vars(sys.modules.pop("costly_module"))["LOADED"]
    with pytest.raises(AttributeError, match="missing"):
        _ = module.missing
