"""The last stage deploys what was promoted, and nothing else."""

import pytest

from components.deploy import deploy
from tests.loopback.deployments import URI, Served
from trainer.config.deploy_config import DeployConfig
from trainer.deployment.plan import Plan

PLAN = Plan.of(DeployConfig(traffic=20)).text()


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [("held: min_ap 0.4100 < 0.5000", "held"), ("pending approval: 3 (champion is 2)", "pending approval")],
)
def test_what_was_not_promoted_is_not_deployed(outcome: str, kind: str) -> None:
    done = deploy(outcome=outcome, registry=URI, plan=PLAN, run_id="run-1")
    assert done == f"not deployed: the run ended as {kind}"


def test_a_promoted_version(served: Served) -> None:
    for outcome in ("promoted: 1 (no champion before)", "promoted: 2 (was 1)"):
        done = deploy(outcome=outcome, registry=URI, plan=PLAN, run_id="centernet-training-1a2b-20261126-030000")
    assert done == "deployed: centernet version 1 80 %, centernet version 2 20 %"
    assert served.split == {"1": 80, "2": 20}
    assert deploy(outcome="promoted: 2 (already champion)", registry=URI, plan=PLAN, run_id="again").startswith(
        "unchanged: "
    )
