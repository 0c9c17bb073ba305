"""Checks that hold for every command of the trainer."""

import argparse
import shlex
import subprocess
import sys

HEAVY = ("tensorflow", "apache_beam", "kfp", "numpy")


def parsed_examples(parser: argparse.ArgumentParser, verb: str) -> list[argparse.Namespace]:
    """The flags of each example in the parser's epilog, which must parse as written."""
    lines = [line.strip() for line in (parser.epilog or "").splitlines()]
    examples = [line for line in lines if line.startswith(f"centernet {verb} ")]
    assert examples, "an empty list would prove nothing"
    return [parser.parse_args(shlex.split(example)[2:]) for example in examples]


def assert_help_is_light(module: str) -> None:
    """`--help` loads none of HEAVY."""
    program = f"""
import importlib, sys
try:
    importlib.import_module("{module}").main(["--help"])
except SystemExit:
    pass
print("loaded:", [name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"
