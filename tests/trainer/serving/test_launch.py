import socket

import pytest

from beam_preprocess.base.errors import InputError
from trainer.serving.launch import bind


def test_a_free_port_is_listened_at_and_inherited() -> None:
    with bind("127.0.0.1", 0) as made, socket.create_connection(made.getsockname(), timeout=5):
        assert made.get_inheritable()


def test_a_port_that_is_taken_is_one_line() -> None:
    with bind("127.0.0.1", 0) as made:
        port = made.getsockname()[1]
        with pytest.raises(InputError, match=rf"^--port {port}: .*\(address already in use\); give another --port$"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        ("203.0.113.7", 0, "--port 0: 203.0.113.7:0 is not available"),
        ("no.such.host.invalid", 0, "--host"),
        ("127.0.0.1", 70_000, "0 to 65535"),
    ],
)
def test_an_address_that_is_not_this_machines(host: str, port: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        bind(host, port)
