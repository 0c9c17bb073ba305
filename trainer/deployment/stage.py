"""The pipeline's last stage: the version that the run promoted, behind an endpoint."""

import re

from trainer.deployment import rollout
from trainer.deployment.lock import Who
from trainer.deployment.plan import Plan
from trainer.deployment.source import find_source
from trainer.promotion.summary import split_outcome
from trainer.registry.vertex import VertexRegistry


def deploy_promoted(outcome: str, registry: str, plan: str, run_id: str) -> str:
    """Deploys the version of a promotion; another outcome deploys nothing.

    Args:
      outcome: the run's sentence.
      registry: `vertex://PROJECT/REGION/MODEL_ID`, where the endpoint is, too.
      plan: text of a `Plan`.
      run_id: the run's, so that a retry of its stage resumes.

    Returns:
      What was done, in words.

    Raises:
      InputError, Failure: see `rollout.deploy`.
    """
    kind, rest = split_outcome(outcome)
    if kind != "promoted":
        return f"not deployed: the run ended as {kind}"
    place, model = VertexRegistry(registry).place, registry.rpartition("/")[2]
    source = find_source(registry, rest.split(" ")[0])
    who = Who(owner=re.sub(r"[^a-z0-9_-]", "_", run_id.lower())[-63:])
    return rollout.deploy(source, Plan.parse(plan).for_model(model), place, who, model=model)
