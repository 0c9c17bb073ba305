"""Machine-hours of a deployment, in the form of `cost.Step`."""

from pipeline.service.cost import Machine, Step
from trainer.deployment.endpoint import DEPLOY_SECONDS
from trainer.deployment.plan import Plan

DAY_HOURS = 24.0


def serving_steps(plan: Plan) -> list[Step]:
    """The machines of a rollout and of a day of serving, if each step reaches its limit."""

    def machines(count: int) -> tuple[Machine, ...]:
        kind = Machine(
            count=count, type=plan.machine_type, accelerator=plan.accelerator, accelerators=plan.accelerators
        )
        return (kind,)

    limit = DEPLOY_SECONDS / 3600
    return [
        Step(name="deploy at 0 %", machines=machines(plan.min_replicas), hours=limit),
        Step(name="smoke test on an endpoint of its own", machines=machines(1), hours=limit),
        Step(name="serve for a day", machines=machines(plan.max_replicas), hours=DAY_HOURS),
    ]
