"""The digest that a file carries."""

import json

import pytest

from beam_preprocess.base.errors import InputError
from trainer.promotion.seal import check_seal, sealed

CONTENT = {"b": 1, "a": [1.5, None, float("nan")], "digest": "anything"}


def test_a_sealed_file_survives_writing_and_any_order_of_keys() -> None:
    again = json.loads(json.dumps(sealed(CONTENT)))
    check_seal(dict(reversed(again.items())), "x.json", "write it again")


@pytest.mark.parametrize("change", [{"b": 2}, {"b": 1.0}, {"b": None}, {"c": 1}, {"a": []}, {"digest": ""}])
def test_a_change_is_refused(change: dict) -> None:
    with pytest.raises(InputError, match=r"x\.json: was changed after it was written.*write it again"):
        check_seal({**sealed(CONTENT), **change}, "x.json", "write it again")
