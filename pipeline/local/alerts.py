"""The alert at the end of a run on this machine."""

import re
import socket

from beam_preprocess.base.errors import InputError
from pipeline.local.run_folder import RunFolder
from trainer.shared.webhook import Alert, WebhookFailed, read_address, send


def check(secret: str) -> None:
    """Refuses a name that is not an environment variable with an address, before a run of hours.

    Raises:
      InputError: it is none.
    """
    if "/" in secret:
        raise InputError("--webhook-secret: is not a name; store the address in an environment variable, give its name")
    try:
        read_address(secret)
    except WebhookFailed as error:
        raise InputError(f"--webhook-secret {secret}: {error}") from error


def post(secret: str, sentence: str, folder: RunFolder | None = None) -> None:
    """Posts the outcome of a run; nothing without a secret, and nothing of a run without news.

    Args:
      secret: name of the environment variable; "" for none.
      sentence: "promoted: …", "held: …", "pending approval: …" or "failed …"; of a watch its verdict.
      folder: the run's; None if it failed before it had one.
    """
    outcome = re.match(r"promoted|held|pending approval|failed|drifted|too few images", sentence)
    if not secret or outcome is None:
        return
    name = folder.path.name if folder else "(not started)"
    # After a failure, a resumed run still has the report of the time before.
    report = str(folder.report) if folder and outcome[0] != "failed" else ""
    run = f"{name} on {socket.gethostname()}"
    send(secret, Alert(outcome=outcome[0], sentence=sentence, run=run, report=report))
