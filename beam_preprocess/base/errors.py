"""The two exceptions that end a command with one line: bad input (exit code 2) and a named failure (1)."""


class InputError(ValueError):
    """Bad input or usage. The message is one line that names the thing, the value and the fix."""

    exit_code = 2
    label = "error"


class Failure(RuntimeError):
    """Work that ended without a result. The message gives the reason in one line.

    Subclasses may set another exit code and label.
    """

    exit_code = 1
    label = "error"
