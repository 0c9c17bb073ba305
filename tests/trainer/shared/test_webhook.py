"""Alerts: what arrives, what a server's fault does, and that no message holds the address."""

from collections.abc import Iterator

import pytest

from tests.loopback.server import Fault
from tests.loopback.webhook_server import TOKEN, WebhookServer
from trainer.shared import webhook
from trainer.shared.webhook import Alert, WebhookFailed, read_address, send

ALERT = Alert(outcome="held", sentence="held: min_ap 0.4100 < 0.5000", run="run-1", link="https://x/1", report="gs://r")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebhookServer]:
    made = WebhookServer()
    monkeypatch.setenv("MY_WEBHOOK", made.address)
    monkeypatch.setenv(webhook.CLUSTER_VARIABLE, made.address)
    monkeypatch.setenv(webhook.ENDPOINT_VARIABLE, made.url)
    monkeypatch.setattr(webhook, "WAIT_SECONDS", 0.001)
    yield made
    made.stop()


@pytest.mark.parametrize(
    "secret", ["MY_WEBHOOK", "alerts/slack", "projects/my-project/secrets/webhook/versions/latest"]
)
def test_what_arrives(secret: str, server: WebhookServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The secret is an environment variable, one of the cluster's, or Secret Manager's through its real client."""
    assert send(secret, ALERT)
    assert server.posted == [
        {
            "text": "CenterNet run run-1: held: min_ap 0.4100 < 0.5000\nreport gs://r\nhttps://x/1",
            "outcome": "held",
            "sentence": "held: min_ap 0.4100 < 0.5000",
            "run": "run-1",
            "link": "https://x/1",
            "report": "gs://r",
        }
    ]
    assert capsys.readouterr().out == "alert     held: delivered\n"


@pytest.mark.parametrize(
    ("fault", "times", "delivered", "says"),
    [
        (Fault(status=500), 2, True, ""),
        (Fault(cut="before"), 1, True, ""),
        (Fault(status=429), 3, False, "the webhook answers 429"),
        (Fault(status=403, message=TOKEN), 1, False, "the webhook answers 403"),
        (Fault(status=302), 1, False, "the webhook answers 302"),
        (Fault(cut="before"), 3, False, "the webhook can't be "),
    ],
)
def test_faults(
    fault: Fault, times: int, delivered: bool, says: str, server: WebhookServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.next_fault("POST", "/services/", fault, times=times)
    assert send("MY_WEBHOOK", ALERT) is delivered
    printed = capsys.readouterr().out
    assert TOKEN.partition("/")[0] not in printed
    if not delivered:
        assert printed.startswith("warning: the alert (held) was not delivered: ")
        assert says in printed
        assert printed.endswith("; the run's result stays\n")
        assert server.posted == []


@pytest.mark.parametrize(
    "address", ["", "T0KEN", "ftp://x/T0KEN", "http://example.org/T0KEN", "https://", "https://127.0.0.1:9/T0KEN"]
)
def test_addresses_that_are_none(
    address: str, server: WebhookServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_WEBHOOK", address)
    assert not send("MY_WEBHOOK", ALERT)
    printed = capsys.readouterr()
    assert "T0KEN" not in printed.out + printed.err
    assert printed.out.count("\n") == 1


def test_a_secret_that_cannot_be_read(server: WebhookServer) -> None:
    server.next_fault("GET", ":access", Fault(status=403, message="denied"))
    with pytest.raises(WebhookFailed, match=r"can't be read \(.*denied\); grant .* roles/secretmanager.secretAccessor"):
        read_address("projects/my-project/secrets/webhook/versions/1")


def test_a_server_that_never_answers_holds_up_nothing(
    server: WebhookServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webhook, "LIMIT_SECONDS", 0.05)
    server.next_fault("POST", "/services/", Fault(seconds=1.0))
    assert not send("MY_WEBHOOK", ALERT)
    assert "no answer in time" in capsys.readouterr().out
