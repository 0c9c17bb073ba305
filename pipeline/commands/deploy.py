"""`centernet deploy`: a published version behind an endpoint of Vertex AI, by canary; or as a manifest of KServe."""

import argparse
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.command import parser as command_parser
from beam_preprocess.base.errors import InputError
from trainer.config.deploy_config import PREBUILT, DeployConfig

if TYPE_CHECKING:
    from trainer.deployment.lock import Who
    from trainer.deployment.plan import Plan
    from trainer.shared.google_cloud import Place

DEFAULTS = DeployConfig()
MODES = ("rollback", "remove_idle", "manifest")
_WHERE = "--project my-project --region us-central1"


def parser() -> Parser:
    """The flags of `centernet deploy`."""
    made = command_parser(
        "deploy",
        "Serve a published version on a Vertex AI endpoint: deploy it without traffic, compare its answers with the\n"
        "recorded ones, then give it a share of the requests. Each step is done once; a rerun resumes.",
        examples=(
            f"centernet deploy {_WHERE} --traffic 10 --dry-run",
            f"centernet deploy --version champion {_WHERE} --traffic 10",
            f"centernet deploy --version 3 {_WHERE} --traffic 100",
            f"centernet deploy --rollback {_WHERE}",
            "centernet deploy --manifest --version 3 --registry vertex://my-project/us-central1/centernet "
            "--image europe-west4-docker.pkg.dev/my-project/centernet/serve:1.0",
        ),
        notes="exit codes: 0 done or unchanged, 2 bad input, 1 the smoke test failed, another rollout is under way,\n"
        "or the service refuses or can't be reached",
    )
    made.add_argument(
        "--version", default="champion", metavar="N", help="version or alias in the registry (default: %(default)s)"
    )
    made.add_argument(
        "--registry",
        default="",
        metavar="URI",
        help="local folder or vertex://PROJECT/REGION/MODEL_ID; default: vertex://PROJECT/REGION/centernet",
    )
    made.add_argument("--project", default="", metavar="ID", help="Google Cloud project; default: the registry's")
    made.add_argument("--region", default="", metavar="NAME", help="such as us-central1; default: the registry's")
    made.add_argument(
        "--staging",
        default="",
        metavar="URI",
        help="gs:// folder that the version of a local registry is copied to",
    )
    served = made.add_argument_group("how it is served")
    served.add_argument(
        "--endpoint", default="", metavar="NAME", help="id of the endpoint, created if missing; default: the model's id"
    )
    served.add_argument(
        "--traffic",
        type=int,
        default=DEFAULTS.traffic,
        metavar="PERCENT",
        help="share of the requests; 0 deploys and tests only, 100 ends a canary (default: %(default)s)",
    )
    served.add_argument(
        "--image",
        default=PREBUILT,
        metavar="URI",
        help="prebuilt: Google's container for TensorFlow 2.15; or an image of your own",
    )
    served.add_argument(
        "--machine-type",
        default=DEFAULTS.machine_type,
        metavar="NAME",
        help="machine of one replica (default: %(default)s)",
    )
    served.add_argument("--min-replicas", type=int, default=DEFAULTS.min_replicas, metavar="N", help="default: 1")
    served.add_argument("--max-replicas", type=int, metavar="N", help="default: as --min-replicas")
    served.add_argument(
        "--max-latency-ms",
        type=float,
        default=DEFAULTS.max_latency_ms,
        metavar="MS",
        help="maximum median time of a request in the smoke test; 0 sets no bound (default: %(default)g)",
    )
    instead = made.add_argument_group("instead of deploying").add_mutually_exclusive_group()
    instead.add_argument("--rollback", action="store_true", help="end the canary, or return to the previous version")
    instead.add_argument(
        "--remove-idle", action="store_true", help="undeploy versions that get no traffic but still cost"
    )
    instead.add_argument("--manifest", action="store_true", help="print an InferenceService for KServe")
    made.add_argument("--take-over", action="store_true", help="end the rollout of a command that was killed")
    made.add_argument("--dry-run", action="store_true", help="print steps and machine-hours, contacting no service")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """`centernet deploy`; see its help for exit codes."""
    return run(parser(), argv, _call)


def _call(flags: argparse.Namespace) -> None:
    place = None if flags.manifest else place_of(flags)
    registry = registry_of(flags, place)
    plan = plan_of(flags, model_of(registry))
    if flags.manifest:
        from trainer.deployment.manifest import manifest
        from trainer.deployment.source import find_source

        print(manifest(find_source(registry, flags.version), plan, staging=flags.staging), end="")
        return
    assert place is not None
    if flags.dry_run:
        _dry_run(flags, plan, registry)
        return
    print(f"result: {_done(flags, plan, registry, place)}")


def _done(flags: argparse.Namespace, plan: "Plan", registry: str, place: "Place") -> str:
    from trainer.deployment import rollout
    from trainer.deployment.endpoint import Endpoint

    model = model_of(registry)
    if flags.rollback:
        return rollout.roll_back(Endpoint(place, plan.endpoint), _who(flags), model=model)
    if flags.remove_idle:
        return rollout.remove_idle(Endpoint(place, plan.endpoint), _who(flags), model=model)
    from trainer.deployment.source import find_source

    source = find_source(registry, flags.version)
    print(f"version        {source.version.version} of {registry}", flush=True)
    return rollout.deploy(source, plan, place, _who(flags), model=model, staging=flags.staging)


def _who(flags: argparse.Namespace) -> "Who":
    from trainer.deployment.lock import Who

    return Who(owner=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-utc-{secrets.token_hex(4)}", take_over=flags.take_over)


def place_of(flags: argparse.Namespace) -> "Place":
    """The project and region: those of the flags, or of the registry.

    Raises:
      InputError: not given, or not the registry's.
    """
    from trainer.registry.base import VERTEX_SCHEME
    from trainer.registry.vertex import VertexRegistry
    from trainer.shared.google_cloud import Place

    if flags.registry.startswith(VERTEX_SCHEME):
        there = VertexRegistry(flags.registry).place
        for name in ("project", "region"):
            if getattr(flags, name) not in ("", getattr(there, name)):
                raise InputError(
                    f"--{name} {getattr(flags, name)}: not the one of --registry {flags.registry}; give the same"
                )
        return there
    missing = [f"--{name}" for name in ("project", "region") if not getattr(flags, name)]
    if missing:
        raise InputError(f"{' and '.join(missing)}: not given; nothing is deployed to a place by default")
    return Place(project=flags.project, region=flags.region)


def registry_of(flags: argparse.Namespace, place: "Place | None") -> str:
    """The registry: the given one, or the place's own.

    Raises:
      InputError: neither a registry nor a project and region is given.
    """
    from pipeline.service.submission import DEFAULT_MODEL
    from trainer.registry.base import VERTEX_SCHEME

    if flags.registry:
        return str(flags.registry)
    if place is None:
        raise InputError("--registry: not given; --manifest needs it")
    return f"{VERTEX_SCHEME}{place.project}/{place.region}/{DEFAULT_MODEL}"


def model_of(registry: str) -> str:
    """Id of the registry's model, to which an endpoint belongs; a local registry has none, and takes the default."""
    from pipeline.service.submission import DEFAULT_MODEL
    from trainer.registry.base import VERTEX_SCHEME

    return registry.rpartition("/")[2] if registry.startswith(VERTEX_SCHEME) else DEFAULT_MODEL


def plan_of(flags: argparse.Namespace, model: str) -> "Plan":
    """The checked plan of the flags.

    Raises:
      InputError: a value is out of range, or the machine serves no predictions.
    """
    from pipeline.service.vertex.rules import serving_accelerator
    from trainer.deployment.plan import Plan

    names = ("endpoint", "traffic", "image", "machine_type", "min_replicas", "max_latency_ms")
    values = {name: getattr(flags, name) for name in names}
    most = flags.max_replicas if flags.max_replicas is not None else flags.min_replicas
    try:
        config = DeployConfig(**values, max_replicas=most)
        accelerator, count = serving_accelerator(config.machine_type)
    except InputError as error:
        name, _, rest = str(error).removeprefix("deploy.").partition(":")
        raise InputError(f"--{name.replace('_', '-')}:{rest}") from error
    return Plan.of(config, accelerator, count).for_model(model)


def _dry_run(flags: argparse.Namespace, plan: "Plan", registry: str) -> None:
    """Prints what would be done, and what it may cost at most."""
    from pipeline.service.cost import hours_table
    from pipeline.service.serving_cost import serving_steps

    if flags.rollback or flags.remove_idle:
        what = "end the canary, or return to the previous version" if flags.rollback else "undeploy what has no traffic"
        print(f"dry run: would {what}, on the endpoint {plan.endpoint}")
        return
    print(f"version        {flags.version} of {registry}")
    print(f"endpoint       {plan.endpoint}, made if missing")
    print(f"container      {plan.container()['imageUri']}")
    print(f"traffic        {plan.traffic} % after the smoke test (the first version of an endpoint gets all)")
    print(hours_table(serving_steps(plan)))
    print("dry run: nothing was sent, and the version was not looked up")


if __name__ == "__main__":
    sys.exit(main())
