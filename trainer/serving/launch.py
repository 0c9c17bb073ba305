"""Starts the model server in its environment. The command's process becomes the server, and so gets its signals."""

import os
import socket
import sys
import tempfile
from pathlib import Path

from beam_preprocess.base.errors import InputError
from trainer.serving import bootstrap, environment
from trainer.serving.choice import choose
from trainer.serving.plan import Plan


def serve(*, model: str, registry: str, name: str, host: str, port: int, folder: str = environment.FOLDER) -> None:
    """Serves a model until the process gets SIGTERM or Ctrl-C; does not return.

    Args:
      model: SavedModel folder, or an alias or a version of the registry.
      registry: URI of the registry.
      name: the model's name in request paths.
      host, port: where to listen; port 0 takes a free one.
      folder: the server's environment, created if missing.

    Raises:
      InputError: there is no such model, the address is not available, or the environment can't be created.
    """
    choice = choose(model, registry)
    listening = bind(host, port)
    interpreter = environment.ensure(folder)
    plan = Plan(
        model=choice.model,
        version=choice.version,
        name=name,
        classes=choice.classes,
        threshold_source=choice.threshold_source,
        socket=listening.fileno(),
        address=_url(listening),
    )
    _become(interpreter, plan)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket that the server inherits. A client that connects before the model is loaded waits for it.

    Raises:
      InputError: the port is taken, or the host is not one of this machine's.
    """
    if not 0 <= port <= 65_535:
        raise InputError(f"--port {port}: use 0 to 65535; 0 takes a free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise InputError(f"--host {host}: not an address of this machine ({error.strerror})") from error
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen()  # with SO_REUSEADDR two servers may bind, but only one may listen
    except OSError as error:
        made.close()
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"--port {port}: {host}:{port} is not available ({reason}); give another --port") from error
    made.set_inheritable(True)
    return made


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _become(interpreter: str, plan: Plan) -> None:
    with tempfile.TemporaryFile() as file:  # a list of classes may be longer than an argument can be
        file.write(plan.to_json().encode())
        file.seek(0)
        os.dup2(file.fileno(), sys.__stdin__.fileno() if sys.__stdin__ else 0)
    sys.stdout.flush()
    sys.stderr.flush()
    program = Path(bootstrap.__file__)
    os.execv(interpreter, [interpreter, "-P", str(program)])
