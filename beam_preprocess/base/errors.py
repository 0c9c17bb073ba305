"""The two exceptions that end a command with one line: bad input (exit code 2), and a failure that has a name (1)."""


class InputError(ValueError):
    """Bad input or usage. The message is one line that names the thing, the value and the fix."""

    exit_code = 2
    label = "error"


class Failure(RuntimeError):
    """Work that ended without its result, for a reason that the message gives in one line.

    Subclasses may end the command with another exit code, under another label.
    """

    exit_code = 1
    label = "error"
