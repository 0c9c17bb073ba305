"""The exceptions that end a command with one line."""

import pytest

from beam_preprocess.base.errors import Failure, InputError


@pytest.mark.parametrize(("kind", "base", "code"), [(InputError, ValueError, 2), (Failure, RuntimeError, 1)])
def test_each_kind_has_an_exit_code_and_a_label(kind: type[Exception], base: type[Exception], code: int) -> None:
    error = kind("--seed -1: out of range; use 0 or more")
    assert isinstance(error, base)
    assert (error.exit_code, error.label) == (code, "error")  # type: ignore[attr-defined]
    assert str(error) == "--seed -1: out of range; use 0 or more"


def test_bad_input_is_not_a_failure() -> None:
    assert not issubclass(InputError, Failure)
