"""Command line flags of the verbs that work on a pipeline service: submit, schedule, status, list, cancel, logs."""

import argparse
import re
from typing import Any

from pipeline.service.cost import PRICES
from pipeline.service.cron import UTC_NAME

SUBMIT_EXAMPLES = """examples:
  python -m pipeline submit --target vertex-gpu --project my-project --region us-central1 \\
      --pipeline-root gs://my-bucket/runs --service-account trainer@my-project.iam.gserviceaccount.com \\
      --coco-dir gs://my-bucket/coco --config coco-centernet-hourglass-gpu --dry-run
  the same with --wait for --dry-run starts it, and ends with the gate's decision

  python -m pipeline submit --target vertex-multinode-gpu --spot --project my-project --region us-central1 \\
      --pipeline-root gs://my-bucket/runs --coco-dir gs://my-bucket/coco --config coco-centernet-hourglass-gpu \\
      --notify me@example.org --param preprocess_on=dataflow --param 'dataflow={"max_workers": 20}'

  python -m pipeline submit --endpoint http://localhost:8080 --target vertex-gpu --coco-dir gs://my-bucket/coco \\
      --config coco-centernet-hourglass-gpu --pipeline-root gs://my-bucket/runs \\
      --image us-central1-docker.pkg.dev/my-project/centernet/python-gpu:0.1.0 \\
      --registry vertex://my-project/us-central1/centernet
  an open-source Kubeflow Pipelines installation

exit codes: 0 submitted (with --wait: promoted, or nothing new), 1 failed, 2 bad input or usage, 3 held (--wait)
"""

SCHEDULE_EXAMPLES = """examples (each verb takes --project and --region, or --endpoint):
  python -m pipeline schedule create --name weekly --cron "0 3 * * 1" --time-zone Europe/Berlin --only-if-changed \\
      --target vertex-gpu --project my-project --region us-central1 --pipeline-root gs://my-bucket/runs \\
      --coco-dir gs://my-bucket/coco --config coco-centernet-hourglass-gpu --dry-run
  python -m pipeline schedule list --project my-project --region us-central1
  python -m pipeline schedule show weekly --project my-project --region us-central1
  python -m pipeline schedule update weekly --cron "0 4 * * 1" --project my-project --region us-central1
  python -m pipeline schedule pause weekly --project my-project --region us-central1
  python -m pipeline schedule resume weekly --project my-project --region us-central1
  python -m pipeline schedule delete weekly --project my-project --region us-central1 --dry-run
  python -m pipeline schedule list --endpoint http://localhost:8080

exit codes: 0 done, 1 failed, 2 bad input or usage
"""

JOB_EXAMPLES = """examples:
  python -m pipeline list --project my-project --region us-central1
  python -m pipeline status centernet-training-1a2b3c4d-20261124-030000 --project my-project --region us-central1
  python -m pipeline logs centernet-training-1a2b3c4d-20261124-030000 --task train --project P --region R
  python -m pipeline cancel centernet-training-1a2b3c4d-20261124-030000 --project P --region R
  python -m pipeline status 7c0c5a5e-0d43-4a25-a1a5-6d7c1e8a2b90 --endpoint http://localhost:8080

exit codes: 0 done, 1 failed, 2 bad input or usage; status: the outcome of a finished run (0 promoted, 1 failed, 3 held)
"""

VERBS = ("submit", "schedule", "status", "list", "cancel", "logs")


def add_verbs(verbs: Any) -> None:
    """Adds the parsers of all of them to `python -m pipeline`'s."""
    submit = _verb(
        verbs,
        "submit",
        "run the pipeline on Vertex AI or on a Kubeflow Pipelines endpoint",
        "Check everything, say what will run where and what it costs at most, and start it.",
        SUBMIT_EXAMPLES,
    )
    _add_place(submit)
    _add_run(submit)
    submit.add_argument("--wait", action="store_true", help="follow the run; exit code 0 promoted, 3 held, 1 failed")
    _add_poll(submit)
    submit.add_argument("--dry-run", action="store_true", help="check and print; contact nothing, send nothing")

    schedule = _verb(
        verbs, "schedule", "run it again and again", "Schedules, one a name.", SCHEDULE_EXAMPLES
    ).add_subparsers(dest="schedule_verb", required=True, metavar="{create,list,show,update,pause,resume,delete}")
    create = _verb(
        schedule,
        "create",
        "make the schedule of this name run exactly this",
        "Make the schedule of this name run exactly this. The same again changes nothing; another --cron or\n"
        "--max-concurrent-runs updates it; a changed pipeline or parameter makes a new schedule and deletes the old.",
        SCHEDULE_EXAMPLES,
    )
    create.add_argument("--name", required=True, type=_name, help="display name; there is one schedule of it")
    _add_cron(create, required=True)
    create.add_argument("--max-concurrent-runs", type=_count, default=1, metavar="N", help="default: %(default)s")
    _add_place(create)
    _add_run(create)
    create.add_argument("--dry-run", action="store_true", help="check and print; contact nothing, send nothing")
    for name, text in (
        ("list", "all schedules, one a line"),
        ("show", "all of one schedule, as JSON"),
        ("update", "change when it fires"),
        ("pause", "no new runs; those at work go on"),
        ("resume", "new runs again; missed ones are not made up for"),
        ("delete", "end it; runs that it started go on"),
    ):
        verb = _verb(schedule, name, text, f"{text[0].upper()}{text[1:]}.", SCHEDULE_EXAMPLES)
        if name != "list":
            verb.add_argument("name", type=_name, help="display name, or the id of one of two with the same name")
        if name == "update":
            _add_cron(verb, required=False)
            verb.add_argument("--max-concurrent-runs", type=_count, metavar="N", help="default: as it is")
        if name in ("update", "resume", "delete"):
            verb.add_argument("--dry-run", action="store_true", help="say what would be done")
        _add_place(verb)

    status = _verb(verbs, "status", "a run and its tasks", "Show a run and its tasks.", JOB_EXAMPLES)
    status.add_argument("run", type=_run_id, help="its id, as submit printed it")
    status.add_argument("--wait", action="store_true", help="follow it to its end")
    _add_poll(status)
    lister = _verb(verbs, "list", "the newest runs", "List the newest runs.", JOB_EXAMPLES)
    lister.add_argument("--limit", type=_count, default=20, metavar="N", help="default: %(default)s")
    cancel = _verb(verbs, "cancel", "end a run", "Ask for the end of a run; its tasks take minutes.", JOB_EXAMPLES)
    cancel.add_argument("run", type=_run_id, help="its id")
    logs = _verb(
        verbs,
        "logs",
        "what a run's tasks printed",
        "Print each failed task's error, the newest lines that the tasks wrote to Cloud Logging, and the address of\n"
        "the whole log. On a Kubeflow Pipelines endpoint: the errors and the run's page.",
        JOB_EXAMPLES,
    )
    logs.add_argument("run", type=_run_id, help="its id")
    logs.add_argument("--task", default="", help="of one task only, by the name that status shows")
    logs.add_argument(
        "--limit", type=_count, default=100, metavar="N", help="newest lines a task; default: %(default)s"
    )
    for verb in (status, lister, cancel, logs):
        _add_place(verb)


def _verb(verbs: Any, name: str, text: str, description: str, examples: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _add_place(parser: argparse.ArgumentParser) -> None:
    place = parser.add_argument_group("where (there is no default project)")
    place.add_argument("--project", default="", help="Google Cloud project id")
    place.add_argument("--region", default="", help="such as us-central1")
    place.add_argument("--endpoint", default="", metavar="URL", help="instead: a Kubeflow Pipelines API")
    place.add_argument("--namespace", default="", help="of the endpoint, when it has several users")


def _add_run(parser: argparse.ArgumentParser) -> None:
    run = parser.add_argument_group("what")
    run.add_argument(
        "--target", required=True, help="machines: a name of pipeline/graph/targets.py, such as vertex-gpu"
    )
    for split in ("train", "val"):
        run.add_argument(f"--{split}-images", default="", metavar="URI", help=f"folder of the {split} images")
        run.add_argument(f"--{split}-annotations", default="", metavar="URI", help=f"COCO JSON of the {split} images")
    run.add_argument("--coco-dir", default="", metavar="URI", help="instead of the four: a folder laid out as COCO's")
    run.add_argument(
        "--config",
        default="",
        metavar="YAML",
        help="a file, or the name of one in trainer/configs; its text travels. default, on CPUs: custom-small",
    )
    run.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    run.add_argument(
        "--registry", default="", metavar="URI", help="default: vertex://PROJECT/REGION/centernet, made when absent"
    )
    run.add_argument(
        "--param", action="append", default=[], metavar="K=V", help="any parameter of the pipeline; may come again"
    )
    run.add_argument("--only-if-changed", action="store_true", help="end after the data check if nothing changed")
    run.add_argument("--notify", default="", metavar="ADDRESS", help="mail the outcome")
    run.add_argument("--no-cache", action="store_true", help="take no task's result from an earlier run")
    run.add_argument(
        "--no-config-check",
        action="store_true",
        help="leave the config's Model Garden sections to the first step (saves the 5 s of TensorFlow's import)",
    )
    how = parser.add_argument_group("how")
    how.add_argument("--pipeline-root", default="", metavar="gs://…", help="folder for everything that runs write")
    how.add_argument(
        "--image",
        default="",
        metavar="URI",
        help="image of every step; default: REGION-docker.pkg.dev/PROJECT/centernet/…, where make images puts it",
    )
    how.add_argument("--service-account", default="", metavar="EMAIL", help="as whom the steps act")
    how.add_argument("--network", default="", metavar="NAME", help="projects/NUMBER/global/networks/NAME, peered")
    how.add_argument("--replicas", type=_count, metavar="N", help="machines that train; default: the target's")
    how.add_argument(
        "--reduction-servers",
        type=_count,
        metavar="N",
        help="machines that sum the gradients of several GPU machines; the image must hold Google's NCCL plugin for "
        "them (docs/targets.md); default: none",
    )
    how.add_argument("--spot", action="store_true", help="spot capacity for training: cheaper, and may be taken away")
    how.add_argument("--labels", action="append", default=[], metavar="K=V", help="may come again")
    how.add_argument(
        "--prices", default=str(PRICES), metavar="FILE", help="price list; default: pipeline/service/prices.yaml"
    )


def _add_cron(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--cron", required=required, default="", metavar="EXPR", help="minute hour day-of-month month day-of-week"
    )
    parser.add_argument(
        "--time-zone",
        default=UTC_NAME if required else "",
        metavar="NAME",
        help=f"of --cron, such as Europe/Berlin; default: {UTC_NAME if required else 'as it is'}",
    )


def _add_poll(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--poll", type=_seconds, default=30.0, metavar="SECONDS", help="with --wait; default: %(default)s"
    )


def _name(text: str) -> str:
    """A display name. The empty one would be any schedule's."""
    if not text.strip() or len(text) > 128:
        raise argparse.ArgumentTypeError(f"{text!r}: give a name of 1 to 128 characters")
    return text


def _run_id(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+", text):
        raise argparse.ArgumentTypeError(f"{text!r}: give the run's id alone, as submit and list print it")
    return text


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: give 1 or more")
    return int(text)


def _seconds(text: str) -> float:
    if not 0 < float(text) < 86400:  # also refuses NaN
        raise argparse.ArgumentTypeError(f"{text}: give more than 0 and less than a day")
    return float(text)
