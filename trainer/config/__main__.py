"""`python -m trainer.config check FILE`: is every section of a run's configuration valid?"""

import argparse
import os
import sys

from beam_preprocess.base.errors import InputError
from trainer.config.sections import find_config, parse_config


def main(argv: list[str] | None = None) -> int:
    """`python -m trainer.config`: exit code 0, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.config",
        description="Validate every section of a run's configuration, Model Garden's included.",
        epilog="example: python -m trainer.config check trainer/configs/custom-small.yaml",
    )
    parser.add_argument("verb", choices=["check"])
    parser.add_argument("config", help="a YAML file, or the name of a shipped config")
    arguments = parser.parse_args(argv)
    # Before TensorFlow is imported: it speaks of missing drivers on every start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        path = find_config(arguments.config)
        config = parse_config(path.read_text(), str(path))
        from trainer.config.experiment import build_experiment  # imports TensorFlow: only when it is needed

        build_experiment(config)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{path}: valid")
    return 0


if __name__ == "__main__":
    sys.exit(main())
