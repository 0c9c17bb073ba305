"""One rollout of an endpoint at a time: a label that names who is at work, set and taken away by compare-and-swap."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from beam_preprocess.base.errors import Failure
from trainer.deployment.endpoint import Endpoint, EndpointMoved, View
from trainer.shared.google_cloud import CloudError

LOCK = "deploying"
"""Label of an endpoint."""
RELEASES = 5
"""Attempts to take the label away while others change the endpoint."""


class RolloutRefused(Failure):
    """The endpoint's state does not allow this step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Who:
    """Who rolls out."""

    owner: str
    """A label's text that is this call's own; a rerun with the same one resumes it."""
    take_over: bool = False
    """End the rollout of somebody who died."""


@contextmanager
def held(endpoint: Endpoint, seen: View, who: Who) -> Iterator[Callable[..., View]]:
    """Holds the endpoint's lock.

    Yields:
      `change(split, labels)`, which changes the endpoint as long as the lock is ours.

    Raises:
      RolloutRefused: somebody else holds it.
    """
    holder = seen.labels.get(LOCK)
    if holder and holder != who.owner and not who.take_over:
        raise RolloutRefused(
            f"endpoint {endpoint.id}: another rollout ({holder}) is under way; wait for it, or, if it died, add "
            "--take-over"
        )
    try:
        endpoint.change(seen, labels={**seen.labels, LOCK: who.owner})
    except EndpointMoved as error:
        raise RolloutRefused(f"{error} (another rollout may have begun)") from error

    def change(*, split: Mapping[str, int], labels: Mapping[str, str]) -> View:
        now = endpoint.existing()
        if now.labels.get(LOCK) != who.owner:
            raise RolloutRefused(f"endpoint {endpoint.id}: another rollout took over; look at it, then rerun")
        return endpoint.change(now, split=split, labels={**labels, LOCK: who.owner})

    try:
        yield change
    finally:
        _release(endpoint, who.owner)


def _release(endpoint: Endpoint, owner: str) -> None:
    for _ in range(RELEASES):
        now = endpoint.read()
        if now is None or now.labels.get(LOCK) != owner:
            return
        try:
            endpoint.change(now, labels={name: value for name, value in now.labels.items() if name != LOCK})
        except EndpointMoved:
            continue
        except CloudError as error:
            print(f"warning: {error}", flush=True)
        else:
            return
    print(f"warning: endpoint {endpoint.id} still looks busy; the next command needs --take-over", flush=True)
