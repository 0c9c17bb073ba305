"""watch.json: written, read strictly."""

import json
from pathlib import Path
from typing import Any

import pytest

from beam_preprocess.base.errors import InputError
from tests.trainer.made_watch import watch_result
from trainer.watch.result import NAME, parse_watch, read_watch


def test_what_is_written_is_read(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(watch_result().to_json())
    found = read_watch(str(tmp_path))
    assert found == watch_result()
    assert len(found.digest) == 64
    assert read_watch(f"{tmp_path}/{NAME}") == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.update(verdict="fine"), "verdict: is 'fine'; use one of"),
        (lambda values: values.update(verdict="steady"), "was changed after it was written"),
        (lambda values: values.update(schema_version=2), "schema_version is 2"),
        (lambda values: values.pop("alpha"), "lacks alpha"),
        (lambda values: values.update(p=1.5), "p: is 1.5; a probability is from 0 to 1"),
        (lambda values: values["statistics"][0].update(p=-0.1), "brightness: is -0.1; a probability"),
    ],
)
def test_a_changed_file_is_refused(change: Any, message: str) -> None:
    values = json.loads(watch_result().to_json())
    change(values)
    with pytest.raises(InputError, match=message):
        parse_watch(json.dumps(values), "watch.json")
