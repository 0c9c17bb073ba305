"""How every command of the project parses its flags, starts, and ends. Standard library only.

A command module has a `parser()`, which imports nothing heavy, and a `main(argv)` that calls `run`:

    def main(argv: Sequence[str] | None = None) -> int:
        return run(parser(), argv, _call)

`_call(flags)` imports what it needs, does one thing, and returns an exit code (None is 0). Bad input and named failures
become one line on standard error; anything else is a defect and keeps its traceback. A command that answers a question
has codes of its own for other answers than yes: 3 for a held model or drifted images, 4 for too few images to tell.
"""

import argparse
import atexit
import difflib
import errno
import gc
import os
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from beam_preprocess.base.errors import Failure, InputError
from beam_preprocess.base.late_imports import load_late

PROGRAM = "centernet"
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "GLOG_minloglevel": "2", "GRPC_VERBOSITY": "ERROR"}
"""Keeps start-up messages of libraries out of a command's output; what is set already stays."""
LEGACY_KERAS = {"TF_USE_LEGACY_KERAS": "1"}
"""Environment of processes that import TensorFlow: Model Garden needs tf_keras, and without this TensorFlow imports
Keras 3 as well, with scikit-learn and SciPy."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system reports when nothing more can be written."""
GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg")
"""Present where there is an NVIDIA driver: on Linux and its containers, and in WSL."""


class Help(argparse.RawDescriptionHelpFormatter):
    """Wraps help to the terminal. Indented lines stay lines; a long example continues after a backslash."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """See base class."""
        return "\n\n".join(self._filled(paragraph, width) for paragraph in re.split(r"\n\s*\n", text.strip("\n")))

    def _split_lines(self, text: str, width: int) -> list[str]:
        """See base class, which also breaks names at their hyphens."""
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False, break_long_words=False)

    def _filled(self, paragraph: str, width: int) -> str:
        lines = paragraph.splitlines()
        if not any(line.startswith(" ") for line in lines):
            return "\n".join(self._split_lines(paragraph, width))
        return "\n".join(self._line(line, width) for line in lines)

    def _line(self, line: str, width: int) -> str:
        if len(line) <= width:
            return line
        indent = line[: len(line) - len(line.lstrip())]
        if not line.startswith(f"  {PROGRAM} "):
            return textwrap.fill(line, width, subsequent_indent=f"{indent}  ", break_on_hyphens=False)
        # A flag stays with its values, and a quoted word in one piece.
        word = r"""(?:[^\s'"]|'[^']*'|"[^"]*")+"""
        first, *others = re.findall(rf"(?:-|^\s*){word}(?:\s+(?!-){word})*", line)
        pieces = [first]
        for part in others:
            if len(pieces[-1]) + len(part) + 3 <= width:
                pieces[-1] += f" {part}"
            else:
                pieces.append(f"{indent}    {part}")
        return " \\\n".join(pieces)


class Parser(argparse.ArgumentParser):
    """An argument parser whose flags answer to hyphens and to underscores, and that never guesses abbreviations."""

    expand: Callable[[list[str]], list[str]] | None = None
    """Adds arguments from elsewhere, such as a file, to those that are given; may raise `InputError`."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", Help)
        super().__init__(**{"allow_abbrev": False, **options})
        self._verbs: Mapping[str, Parser] = {}

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """See base class. Subparsers come through here as well, each with its own flags."""
        given = list(sys.argv[1:] if args is None else args)
        if self.expand is not None:
            given = self.expand(given)
        end = given.index("--") if "--" in given else len(given)
        return super().parse_known_args([*map(self._known_spelling, given[:end]), *given[end:]], namespace)

    def error(self, message: str) -> NoReturn:
        """See base class, which prints the whole usage first."""
        if found := re.match(r"unrecognized arguments: (--[\w-]+)", message):
            near = difflib.get_close_matches(found[1][2:], self.all_flags(), n=1)
            meant = f"did you mean --{near[0]}? " if near else ""
            message = f"{found[1]}: unknown flag; {meant}{self.prog} --help lists all"
        else:
            message += f"; see {self.prog} --help"
        self.exit(2, f"error: {message}\n")

    def flags(self) -> dict[str, argparse.Action]:
        """Its flags by name, without the hyphens in front."""
        long = {name: action for name, action in self._option_string_actions.items() if name.startswith("--")}
        return {name[2:]: action for name, action in long.items()}

    def all_flags(self) -> set[str]:
        """Also those of its own verbs."""
        return set(self.flags()).union(*(verb.all_flags() for verb in self._verbs.values()))

    def add_subparsers(self, **options: Any) -> Any:
        """See base class."""
        made = super().add_subparsers(**options)
        self._verbs = made.choices
        return made

    def _known_spelling(self, argument: str) -> str:
        name, equals, value = argument.partition("=")
        known = self._option_string_actions
        if not name.startswith("--") or name in known:
            return argument
        words = name[2:]
        for other in (words.replace("_", "-"), words.replace("-", "_")):
            if f"--{other}" in known:
                return f"--{other}{equals}{value}"
        return argument


def parser(verb: str, description: str, *, examples: Sequence[str], notes: str = "") -> Parser:
    """The parser of `centernet VERB`.

    Args:
      verb: its name, such as "gate" or "config check".
      description: what it does, one sentence or two.
      examples: whole command lines; a test parses each of them.
      notes: text below the examples, such as exit codes.
    """
    lines = ["examples:", *(f"  {example}" for example in examples)]
    return Parser(
        prog=f"{PROGRAM} {verb}", description=description, epilog="\n".join([*lines, *(["", notes] if notes else [])])
    )


def run(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    call: Callable[[argparse.Namespace], int | None],
) -> int:
    """Parses the flags and makes the call.

    Returns:
      What the call returned (None is 0), 2 for bad input, the exit code of a `Failure`, 1 for a full disk, or 130 after
      Ctrl-C.
    """
    return ended(lambda: call(parser.parse_args(argv)))


def ended(call: Callable[[], int | None]) -> int:
    """Makes the call and turns the ways that it may end into an exit code; see `run`."""
    # TensorFlow reports a missing driver as an error ("failed call to cuInit"): without one, only fatal errors show.
    without_gpu = {} if any(map(os.path.exists, GPU_DEVICES)) else {"TF_CPP_MIN_LOG_LEVEL": "3"}
    for name, value in (QUIET | without_gpu | LEGACY_KERAS).items():
        os.environ.setdefault(name, value)
    start_light()
    try:
        return call() or 0
    except (InputError, Failure) as error:
        print(f"{error.label}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        line = full_disk(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        return 1


def start_light() -> None:
    """Makes a process spend less on its libraries: see `late_imports`, and the comment below."""
    load_late()
    # TensorFlow makes very many objects: with Python's own thresholds, a tenth of its import went into the search for
    # unreachable ones. None at the exit either.
    gc.set_threshold(50_000, 20, 20)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def full_disk(error: Exception) -> str | None:
    """The line for an error of a full disk, a spent quota or a file that may not grow; None for any other error.

    TensorFlow passes the system's reason on as text.
    """
    number = error.errno if isinstance(error, OSError) else None
    found = next((full for full in FULL if full == number or os.strerror(full) in str(error)), None)
    if found is None:
        return None
    place = getattr(error, "filename", None)
    return f"{f'{place}: ' if place else ''}{os.strerror(found).lower()}; free some, then rerun the same command"


def is_this_process(arguments: Sequence[str]) -> bool:
    """Whether a command's arguments are those of this process, not those of a caller such as a test."""
    return list(arguments) == sys.argv[len(sys.argv) - len(arguments) :]


def interruptible(call: Callable[[], None], *, again: str, own_process: bool) -> int:
    """Makes a call that runs a Beam job; Ctrl-C ends it with one line.

    Args:
      call: the work.
      again: what the same command does when it is run again, such as "start over".
      own_process: the process may be ended at once: Beam's threads are still working, and a normal exit would wait for
        them, or abort.

    Returns:
      0, or 1 after Ctrl-C.
    """
    line = f"interrupted; rerun the same command to {again}"

    def leave(_number: int, _frame: object) -> None:
        os.write(2, f"{line}\n".encode())
        os._exit(1)

    # At once: while Beam's runner ends, its threads may print their own errors.
    previous = signal.signal(signal.SIGINT, leave) if own_process else None
    try:
        call()
    except (KeyboardInterrupt, RuntimeError) as error:
        # Beam's runner turns a KeyboardInterrupt into a RuntimeError that begins with its name.
        if not isinstance(error, KeyboardInterrupt) and not str(error).startswith("KeyboardInterrupt"):
            raise
        print(line, file=sys.stderr, flush=True)
        return 1
    finally:
        if previous is not None:
            signal.signal(signal.SIGINT, previous)
    return 0
