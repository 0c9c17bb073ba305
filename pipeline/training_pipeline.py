"""The graph: from a COCO data set to a promoted or held model, and a report on it.

data_check -> preprocess(train), preprocess(val) -> train -> export -> evaluate(candidate)
resolve_champion -> evaluate(champion) -> gate -> promote | hold -> report
"""

from collections.abc import Callable
from typing import Any

from kfp import dsl

from components import (
    data_check,
    evaluate,
    export_model,
    gate,
    hold,
    preprocess,
    promote,
    report,
    resolve_champion,
    train,
)
from pipeline.targets import Target

NAME = "centernet-training"


def make_pipeline(target: Target) -> Any:
    """The pipeline for one target: `kfp.dsl`'s graph component, which compiles, and runs when it is called."""

    def component(function: Callable[..., Any]) -> Callable[..., dsl.PipelineTask]:
        # The image holds this repository and kfp: nothing is installed when a task starts.
        built = dsl.component(function, base_image=target.image, install_kfp_package=False)
        resources = target.resources.get(function.__name__)

        def task(display_name: str, *, cached: bool, **arguments: Any) -> dsl.PipelineTask:
            made = built(**arguments).set_display_name(display_name).set_caching_options(cached)
            if resources is not None:
                made.set_cpu_limit(resources.cpu).set_memory_limit(resources.memory)
                if resources.accelerators:
                    made.set_accelerator_type(resources.accelerator).set_accelerator_limit(resources.accelerators)
            return made

        return task

    check_data = component(data_check.data_check)
    make_records = component(preprocess.preprocess)
    train_model = component(train.train)
    export = component(export_model.export_model)
    find_champion = component(resolve_champion.resolve_champion)
    score = component(evaluate.evaluate)
    decide = component(gate.gate)
    promote_candidate = component(promote.promote)
    hold_candidate = component(hold.hold)
    write_report = component(report.report)

    @dsl.pipeline(name=NAME, description="CenterNet from a COCO data set to a promoted or held model.")
    def training_pipeline(
        train_images: str,
        train_annotations: str,
        val_images: str,
        val_annotations: str,
        config: str,
        registry: str,
        run_id: str,
        work_dir: str = "",
        seed: int = 0,
    ) -> str:
        # What reads the outside world is never cached. What computes is cached by content: the digests are inputs.
        checked = check_data(
            "check the data",
            cached=False,
            train_images=train_images,
            train_annotations=train_annotations,
            val_images=val_images,
            val_annotations=val_annotations,
            config=config,
            work_dir=work_dir,
        )
        records = {
            split: make_records(
                f"preprocess {split}",
                cached=True,
                images=images,
                annotations=annotations,
                split=split,
                data_digest=checked.outputs[f"{split}_digest"],
                config=config,
                seed=seed,
                work_dir=work_dir,
            )
            for split, images, annotations in (
                ("train", train_images, train_annotations),
                ("val", val_images, val_annotations),
            )
        }
        # The validation loss is followed, but chooses nothing: these are the images that gate.
        trained = train_model(
            "train",
            cached=True,
            records=records["train"].output,
            val_records=records["val"].output,
            config=config,
            seed=seed,
            work_dir=work_dir,
        )
        exported = export("export", cached=True, checkpoint=trained.output, work_dir=work_dir)
        validation = {
            "images": val_images,
            "annotations": val_annotations,
            "data_digest": checked.outputs["val_digest"],
            "work_dir": work_dir,
        }
        candidate = score(
            "evaluate candidate", cached=True, model=exported.output, name="evaluate-candidate", **validation
        )
        # Asked late, so that the champion is the one at the time of the decision; scored after the candidate, so that
        # whatever fails there is the champion's own fault and not the images'.
        champion = find_champion("find champion", cached=False, registry=registry).after(candidate)
        champion_scored = score(
            "evaluate champion",
            cached=True,
            model=champion.outputs["champion"],
            name="evaluate-champion",
            **validation,
        )
        decision = decide(
            "gate",
            cached=False,
            candidate=candidate.output,
            champion=champion_scored.output,
            champion_version=champion.outputs["Output"],
            config=config,
            work_dir=work_dir,
        )
        with dsl.If(decision.outputs["Output"] == True, name="promoted"):  # noqa: E712 - kfp overloads ==
            promoted = promote_candidate(
                "promote",
                cached=False,
                decision=decision.outputs["decision"],
                model=exported.output,
                registry=registry,
                run_id=run_id,
            )
        with dsl.Else(name="held"):
            held = hold_candidate("hold", cached=False, decision=decision.outputs["decision"])
        outcome = dsl.OneOf(promoted.output, held.output)
        write_report(
            "report",
            cached=False,
            outcome=outcome,
            data=checked.outputs["report"],
            train_records=records["train"].output,
            val_records=records["val"].output,
            checkpoint=trained.output,
            model=exported.output,
            candidate=candidate.output,
            champion=champion_scored.output,
            decision=decision.outputs["decision"],
            images=val_images,
            annotations=val_annotations,
            config=config,
            work_dir=work_dir,
        )
        return outcome

    return training_pipeline
