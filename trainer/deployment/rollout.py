"""The steps of a rollout, each of which a rerun finds done.

    upload -> deploy at 0 % -> smoke test -> split -> look again -> 100 %, or roll back

Vertex AI has no request that names one of an endpoint's models: only the split chooses. So a model without traffic is
tested on an endpoint of its own, ENDPOINT-smoke, which exists for the test only. After the split the model is tested
once more by its share of the requests, since each answer names the model that gave it; if that fails, it loses its
traffic.

The endpoint's labels hold the state: `stable` and `previous` are ids of deployed models, `deploying` names who is at
work. Each change is made from what was read (the endpoint's etag), so one of two rollouts at a time wins.
"""

from collections.abc import Callable

from beam_preprocess.base.errors import InputError
from trainer.deployment.endpoint import Endpoint, View
from trainer.deployment.lock import RolloutRefused, Who, held
from trainer.deployment.plan import Plan, deployed_id
from trainer.deployment.smoke_test import SmokeFailed, check_alone, check_share
from trainer.deployment.source import TITLE, Source, uploaded
from trainer.shared.google_cloud import CloudError, Place

MODEL, STABLE, PREVIOUS = "centernet-model", "stable", "previous"
"""Labels of an endpoint."""
SMOKE_OF = "smoke-of"
"""Label of the endpoint of a smoke test."""
SMOKE_SUFFIX = "-smoke"


def deploy(source: Source, plan: Plan, place: Place, who: Who, *, model: str, staging: str = "") -> str:
    """Gives a version its share of an endpoint's requests, after it passed the smoke test.

    Args:
      source: the version.
      plan: how it is served, and its share.
      place: project and region.
      who: who does it.
      model: id of the registry's model, to which the endpoint belongs.
      staging: see `uploaded`.

    Returns:
      What was done, in words.

    Raises:
      InputError: the endpoint is another model's.
      RolloutRefused: another rollout is under way, or a second canary has traffic.
      SmokeFailed: the version answers otherwise than recorded. It gets no traffic and is undeployed.
      CloudError: the service refuses, is full or can't be reached.
    """
    endpoint = Endpoint(place, plan.endpoint)
    seen = endpoint.read()
    if seen is not None:
        check_owned(endpoint, seen, model)
    served = uploaded(source, plan, place, staging)
    new = deployed_id(served, plan.resources())
    if seen is None:
        print(f"endpoint       {plan.endpoint}: creating it", flush=True)
        seen = endpoint.create({MODEL: model})
        check_owned(endpoint, seen, model)
    split = next_split(seen, new, plan.traffic)
    if new in seen.deployed and seen.split == split and (plan.traffic < 100 or seen.labels.get(STABLE) == new):
        return f"unchanged: {_shares(seen)}"
    with held(endpoint, seen, who) as change:
        rollout = _Rollout(endpoint, source, plan, served, new, change)
        return rollout.run()


class _Rollout:
    """The steps under the lock."""

    def __init__(
        self, endpoint: Endpoint, source: Source, plan: Plan, served: str, new: str, change: Callable[..., View]
    ) -> None:
        self._endpoint, self._source, self._plan, self._served, self._new = endpoint, source, plan, served, new
        self._change = change

    def run(self) -> str:
        plan, new = self._plan, self._new
        seen = self._endpoint.existing()
        next_split(seen, new, plan.traffic)  # somebody may have changed it before we held the lock
        for left in _leftovers(seen, new):
            print(f"leftover       {seen.deployed[left].name} has no traffic and no use: undeploying it", flush=True)
            self._endpoint.undeploy(left)
        if new in seen.deployed:
            print(f"deployed       {self._source.title} as {new}, with {seen.split.get(new, 0)} %", flush=True)
        else:
            print(f"deploying      {self._source.title} as {new} at 0 %; this takes 5 to 30 minutes", flush=True)
            self._endpoint.deploy(
                new, model=self._served, title=self._source.title, resources=plan.resources(), split={}
            )
        if not self._endpoint.existing().split.get(new):
            self._smoke_alone()
        if not plan.traffic:
            return f"deployed without traffic: {self._source.title} passed the smoke test"
        return self._split()

    def _smoke_alone(self) -> None:
        """Tests a model without traffic; one that fails is undeployed."""
        try:
            found = _on_its_own_endpoint(self._endpoint, self._source, self._plan, self._served)
        except SmokeFailed as error:
            self._endpoint.undeploy(self._new)
            raise SmokeFailed(
                f"{self._source.title}: smoke test failed: {error}; it got no traffic and was undeployed"
            ) from error
        except BaseException:
            print(
                f"{self._source.title} stays deployed without traffic, and costs: a rerun of the same command resumes "
                "here, and --remove-idle removes it",
                flush=True,
            )
            raise
        print(f"smoke test     passed: {found}", flush=True)

    def _split(self) -> str:
        before = self._endpoint.existing()
        split = next_split(before, self._new, self._plan.traffic)
        labels = dict(before.labels)
        if split == {self._new: 100}:
            old = labels.get(STABLE, "")
            if old in before.deployed and old != self._new:
                labels[PREVIOUS] = old
            labels[STABLE] = self._new
        after = self._change(split=split, labels=labels)
        print(f"split          {_shares(after)}", flush=True)
        try:
            found = check_share(
                self._endpoint,
                self._source.smoke,
                deployed=self._new,
                percent=split[self._new],
                max_latency_ms=self._plan.max_latency_ms,
            )
        except SmokeFailed as error:
            self._take_back(before)
            raise SmokeFailed(f"{self._source.title}: failed with traffic: {error}; it lost its traffic") from error
        print(f"looked again   {found}", flush=True)
        self._drop_older(after)
        return f"deployed: {_shares(after)}"

    def _take_back(self, before: View) -> None:
        """Takes the model's traffic, also what it had before: it is wrong there, too."""
        others = {deployed: percent for deployed, percent in before.split.items() if deployed != self._new}
        if before.split and not others:
            return  # nothing else could answer
        split = {max(others, key=others.__getitem__): 100} if others else {}
        self._change(split=split, labels=before.labels)
        self._endpoint.undeploy(self._new)

    def _drop_older(self, after: View) -> None:
        """Only the version before the one in use is kept for a rollback: an idle one costs as much as a busy one."""
        for left in _leftovers(after, self._new):
            print(
                f"leftover       {after.deployed[left].name} is older than the previous one: undeploying it", flush=True
            )
            self._endpoint.undeploy(left)


def roll_back(endpoint: Endpoint, who: Who, *, model: str) -> str:
    """Ends a canary, or returns to the version before the one in use.

    Returns:
      What was done, in words.

    Raises:
      InputError: there is no such endpoint, or it is another model's.
      RolloutRefused: another rollout is under way, or there is nothing to return to.
    """
    seen = endpoint.existing()
    check_owned(endpoint, seen, model)
    with held(endpoint, seen, who) as change:
        seen = endpoint.existing()
        stable, previous = seen.labels.get(STABLE, ""), seen.labels.get(PREVIOUS, "")
        canaries = [deployed for deployed in seen.split if deployed != stable]
        if stable in seen.deployed and canaries:
            after = change(split={stable: 100}, labels=seen.labels)
            for canary in canaries:
                endpoint.undeploy(canary)
            names = ", ".join(seen.deployed[canary].name for canary in canaries)
            return f"rolled back: {_shares(after)}; {names} undeployed"
        if previous in seen.deployed and previous != stable:
            after = change(split={previous: 100}, labels={**seen.labels, STABLE: previous, PREVIOUS: stable})
            left = f"; {seen.deployed[stable].name} stays deployed without traffic" if stable in seen.deployed else ""
            return f"rolled back: {_shares(after)}{left}"
        raise RolloutRefused(
            f"endpoint {endpoint.id}: nothing to roll back to ({_shares(seen)}); deploy the version that you want with "
            "--version N --traffic 100"
        )


def remove_idle(endpoint: Endpoint, who: Who, *, model: str) -> str:
    """Undeploys what has no traffic; a rollback is a deployment from then on.

    Raises:
      InputError: there is no such endpoint, or it is another model's.
      RolloutRefused: another rollout is under way.
    """
    seen = endpoint.existing()
    check_owned(endpoint, seen, model)
    with held(endpoint, seen, who):
        seen = endpoint.existing()
        idle = [deployed for deployed in seen.deployed if deployed not in seen.split]
        for deployed in idle:
            endpoint.undeploy(deployed)
    names = ", ".join(seen.deployed[deployed].name for deployed in idle)
    return f"undeployed: {names}" if idle else "unchanged: every deployed model has traffic"


def next_split(seen: View, new: str, traffic: int) -> dict[str, int]:
    """The split that gives a model its share, and the rest to the one in use.

    Raises:
      RolloutRefused: the model has traffic and is to get none, or is the one in use and is to get less; or there is
        another canary.
    """
    if not traffic:
        if percent := seen.split.get(new):
            raise RolloutRefused(f"{seen.deployed[new].name} has {percent} %: --rollback takes it away")
        return dict(seen.split)
    others = {deployed: percent for deployed, percent in seen.split.items() if deployed != new}
    if traffic == 100:
        return {new: 100}
    if others and new == seen.labels.get(STABLE):
        names = ", ".join(seen.deployed[deployed].name for deployed in others)
        raise RolloutRefused(f"{seen.deployed[new].name} is the one in use: --rollback ends the canary of {names}")
    if not others:
        # The first model, or the one in use: nothing else could answer the rest.
        return {new: 100}
    if len(others) > 1:
        names = ", ".join(seen.deployed[deployed].name for deployed in others if deployed != seen.labels.get(STABLE))
        raise RolloutRefused(f"another canary has traffic ({names}): give it 100 %, or roll it back first")
    return {next(iter(others)): 100 - traffic, new: traffic}


def check_owned(endpoint: Endpoint, seen: View, model: str) -> None:
    """Checks that an endpoint is one of this model's.

    Raises:
      InputError: it is not.
    """
    owner = seen.labels.get(MODEL)
    if owner != model:
        whose = f"serves the model {owner}" if owner else "was not made by centernet deploy"
        raise InputError(f"--endpoint {endpoint.id}: {whose}; give another id, which is created if it does not exist")


def _on_its_own_endpoint(main: Endpoint, source: Source, plan: Plan, served: str) -> str:
    """Deploys the model once more, for the test only."""
    endpoint = Endpoint(main.place, f"{main.id}{SMOKE_SUFFIX}")
    resources = plan.resources(smoke=True)
    wanted = deployed_id(served, resources)
    seen = endpoint.read()
    if seen is None:
        seen = endpoint.create({SMOKE_OF: main.id})
    if seen.labels.get(SMOKE_OF) != main.id:
        raise InputError(
            f"endpoint {endpoint.id}: exists and is not ours, but the smoke test needs this name; remove it"
        )
    try:
        print(f"smoke test     on the endpoint {endpoint.id}, for the test only", flush=True)
        if wanted not in seen.deployed or seen.split != {wanted: 100}:
            _empty(endpoint)
            endpoint.deploy(wanted, model=served, title=source.title, resources=resources, split={"0": 100})
        return check_alone(endpoint, source.smoke, max_latency_ms=plan.max_latency_ms)
    finally:
        try:
            _empty(endpoint)
            endpoint.delete()
        except CloudError as error:
            print(f"warning: {error}; remove the endpoint {endpoint.id}, or it costs", flush=True)


def _empty(endpoint: Endpoint) -> None:
    seen = endpoint.read()
    for deployed in seen.deployed if seen else ():
        endpoint.undeploy(deployed)


def _leftovers(seen: View, new: str) -> list[str]:
    """Our models without traffic that nothing returns to: of a rollout that died, or of an older version."""
    kept = {new, seen.labels.get(STABLE), seen.labels.get(PREVIOUS)}
    return [
        deployed
        for deployed, found in seen.deployed.items()
        if deployed not in seen.split and deployed not in kept and found.name.startswith(TITLE)
    ]


def _shares(seen: View) -> str:
    shares = sorted(seen.split.items(), key=lambda entry: -entry[1])
    named = [f"{seen.deployed[deployed].name} {percent} %" for deployed, percent in shares if deployed in seen.deployed]
    return ", ".join(named) or "no model has traffic"
