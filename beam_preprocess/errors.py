"""The one exception that means "the user's input is wrong": command lines turn it into exit code 2."""


class InputError(ValueError):
    """Bad input or usage. The message is one line that names the thing, the value and the fix."""
