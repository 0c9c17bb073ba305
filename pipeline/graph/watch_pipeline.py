"""The second graph: the champion looks at new images, and the training runs if there is a reason.

resolve champion -> watch -> data_check -> training_due -> the stages of `pipeline.graph.training_stages` | no_training

The watch comes before the data check: labels that can't be used don't keep it from telling what production sees.
Reasons are new labels, drift with something new to train with, and the champion's age (`trainer.promotion.due`).
"""

from typing import Any

from kfp import dsl

from components.no_training import no_training
from components.resolve_champion import resolve_champion
from components.training_due import training_due
from components.watch import watch
from pipeline.graph.ending import pipeline_of
from pipeline.graph.request import PIPELINES, WATCH
from pipeline.graph.targets import Target
from pipeline.graph.tasks import Tasks
from pipeline.graph.training_stages import JOB, Given, Training

NAME = PIPELINES[WATCH]
FIND = "find current champion"
"""The training's stages find it again: when they judge, it may be another one."""


def make_pipeline(target: Target) -> Any:
    """The pipeline for one target: kfp's graph component. Compile it, or call it to run it."""
    task = Tasks(target)

    def watch_pipeline(
        images: str,
        train_images: str,
        train_annotations: str,
        val_images: str,
        val_annotations: str,
        config: str,
        registry: str,
        since: str = "",
        run_id: str = "",
        work_dir: str = "",
        seed: int = 0,
        runtime: str = target.runtime,
        preprocess_on: str = target.preprocess_on,
        dataflow: str = target.dataflow,
        beam_args: str = "",
        service_account: str = "",
        network: str = "",
        strict: bool = False,
    ) -> str:
        given = Given(
            train_images=train_images,
            train_annotations=train_annotations,
            val_images=val_images,
            val_annotations=val_annotations,
            config=config,
            registry=registry,
            run_id=run_id,
            work_dir=work_dir,
            seed=seed,
            runtime=runtime,
            preprocess_on=preprocess_on,
            dataflow=dataflow,
            beam_args=beam_args,
            service_account=service_account,
            network=network,
            strict=strict,
        )
        training = Training(target=target, task=task, given=given)
        champion = task(
            resolve_champion,
            FIND,
            cached=False,
            alias="champion",
            known="",
            registry=registry,
            work_dir=work_dir,
            title=FIND,
            **training.this_run,
        )
        watched = task(
            watch,
            "watch",
            cached=False,
            images=images,
            since=since,
            val_images=val_images,
            val_annotations=val_annotations,
            registry=registry,
            version=champion.outputs["version"],
            status=champion.outputs["status"],
            reason=champion.outputs["reason"],
            work_dir=work_dir,
            preprocess_on=preprocess_on,
            dataflow=dataflow,
            beam_args=beam_args,
            run_id=JOB,
            strict=strict,
        )
        checked = training.check().after(watched)
        due = task(
            training_due,
            "training due",
            cached=False,
            watched=watched.outputs["watched"],
            version=champion.outputs["version"],
            config=config,
            **training.identity(checked),
            **training.ended,
        )
        with dsl.If(due.outputs["Output"] == "train", name="due"):
            outcome = training.train_and_judge(checked)
        with dsl.Else(name="not due"):
            rest = task(no_training, "no training", cached=False, due=due.outputs["due"], **training.noted)
        return dsl.OneOf(outcome, rest.output)

    return pipeline_of(watch_pipeline, NAME, "The champion watches new images; a reason trains.", target, task)
