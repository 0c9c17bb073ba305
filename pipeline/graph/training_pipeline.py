"""The graph: from a COCO data set to a promoted or held model, and a report on it.

data_check -> should_run -> the stages of `pipeline.graph.training_stages`

The data check always runs. It hands out what the cached stages read: digests of the data, and each stage's part of the
configuration. So preprocessing and training are redone when something that they read changed, and for nothing else:
they never see the gate's and the export's settings, the validation data, or where Beam runs (`run_options`).

What a cached stage reads is handed to it as a text, the folder's URI: services key artifacts in different ways, and
Kubeflow copies every input artifact into the pod first. The artifacts are for people, and for the last stages; each
names one small file of its folder (`components.support.stage.folder_of`).

With `only_if_changed`, a run ends after should_run as "unchanged" if data, configuration, seed and image are those of
the last completed run.
"""

from typing import Any

from kfp import dsl

from components.should_run import should_run
from components.unchanged import unchanged
from pipeline.graph.ending import pipeline_of
from pipeline.graph.request import PIPELINES, TRAINING
from pipeline.graph.targets import Target
from pipeline.graph.tasks import Tasks
from pipeline.graph.training_stages import Given, Training

NAME = PIPELINES[TRAINING]


def make_pipeline(target: Target) -> Any:
    """The pipeline for one target: kfp's graph component. Compile it, or call it to run it."""
    task = Tasks(target)

    def training_pipeline(
        train_images: str,
        train_annotations: str,
        val_images: str,
        val_annotations: str,
        config: str,
        registry: str,
        run_id: str = "",
        work_dir: str = "",
        seed: int = 0,
        runtime: str = target.runtime,
        preprocess_on: str = target.preprocess_on,
        dataflow: str = target.dataflow,
        beam_args: str = "",
        service_account: str = "",
        network: str = "",
        only_if_changed: bool = False,
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
        checked = training.check()
        changed = task(
            should_run,
            "check for changes",
            cached=False,
            only_if_changed=only_if_changed,
            **training.identity(checked),
        )
        with dsl.If(changed.output == True, name="changed"):  # noqa: E712 - kfp overloads ==
            outcome = training.train_and_judge(checked)
        with dsl.Else(name="unchanged"):
            nothing_new = task(unchanged, "nothing new", cached=False, **training.noted)
        return dsl.OneOf(outcome, nothing_new.output)

    return pipeline_of(
        training_pipeline, NAME, "CenterNet from a COCO data set to a promoted or held model.", target, task
    )
