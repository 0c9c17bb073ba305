"""Who is approving: the account that the registry is changed with."""

import getpass
import socket

from trainer.registry.base import VERTEX_SCHEME


def account_of(registry: str) -> str:
    """The account: of Google's credentials for a `vertex://` registry if they name one, else user and machine.

    A person's own credentials usually name none. Cloud Audit Logs hold the account of every change there.
    """
    user = f"{_user()}@{socket.gethostname()}"
    if not registry.startswith(VERTEX_SCHEME):
        return user
    from trainer.registry.vertex import VertexRegistry
    from trainer.shared.google_cloud import credentials

    found = credentials(VertexRegistry(registry).place.endpoint)
    return getattr(found, "service_account_email", "") or getattr(found, "account", "") or user


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in /etc/passwd
        return "unknown"
