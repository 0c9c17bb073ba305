"""`centernet serve`: a model server on this machine, with a page to try the model."""

import argparse
import sys
from collections.abc import Sequence

from beam_preprocess.base import command


def parser() -> command.Parser:
    """The parser of the command."""
    made = command.parser(
        "serve",
        "Serve an exported model over HTTP on this machine, with a page to try it at /.",
        examples=[
            "centernet serve --model champion",
            "centernet serve --model runs/latest/saved_model --port 9000",
            "centernet serve --model v0002 --registry registry --host 0.0.0.0",
        ],
        notes="The server is kserve's, in an environment of its own that the first call creates. It answers KServe's\n"
        "protocols V1 (/v1/models/NAME:predict) and V2 (/v2/models/NAME/infer), health (/v2/health/ready) and\n"
        "Prometheus metrics (/metrics). docs/serving.md has clients in curl and Python.\n\n"
        "On SIGTERM or Ctrl-C it finishes the requests in progress (30 s at most) and ends with exit code 0.\n"
        "Exit code 2: no such model, not a model of this project, or the port is taken.",
    )
    made.add_argument(
        "--model",
        default="champion",
        metavar="DIR|NAME",
        help="SavedModel folder, or an alias or version of the registry (default: %(default)s)",
    )
    made.add_argument(
        "--registry",
        default="registry",
        metavar="URI",
        help="local folder or vertex://PROJECT/REGION/MODEL_ID (default: %(default)s)",
    )
    made.add_argument("--name", default="centernet", help="the model's name in request paths (default: %(default)s)")
    made.add_argument("--port", type=int, default=8080, help="0 takes a free one (default: %(default)s)")
    made.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; anyone who reaches it may use the model (default: %(default)s, this machine only)",
    )
    made.add_argument(
        "--environment",
        default=".venv-serve",
        metavar="DIR",
        help="folder of the server's environment, created if missing (default: %(default)s)",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The server's exit code, or 2 for bad input."""
    return command.run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    from beam_preprocess.base.errors import InputError
    from trainer.serving.launch import serve

    if not flags.name or not flags.name.replace("-", "").replace("_", "").isalnum():
        raise InputError(f"--name {flags.name!r}: use letters, digits, - and _")
    serve(
        model=flags.model,
        registry=flags.registry,
        name=flags.name,
        host=flags.host,
        port=flags.port,
        folder=flags.environment,
    )


if __name__ == "__main__":
    sys.exit(main())
