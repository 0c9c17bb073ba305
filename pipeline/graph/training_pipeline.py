"""The graph: from a COCO data set to a promoted or held model, and a report on it.

data_check -> should_run -> preprocess(train), preprocess(val) -> train -> export -> evaluate(candidate)
resolve champion and best -> evaluate(champion), evaluate(best) -> gate -> promote | hold -> report -> remember

With `only_if_changed` a run on what the last completed run was made of ends after should_run, as "unchanged".
"""

import inspect
from collections.abc import Callable
from functools import partial, wraps
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
    remember,
    report,
    resolve_champion,
    should_run,
    train,
    unchanged,
)
from pipeline.graph import tasks
from pipeline.graph.targets import Target

NAME = "centernet-training"


def make_pipeline(target: Target) -> Any:
    """The pipeline for one target: `kfp.dsl`'s graph component, which compiles, and runs when it is called."""
    component = partial(tasks.component, target=target)
    check_data = component(data_check.data_check)
    make_records = component(preprocess.preprocess)
    train_model = component(train.train, trains=True)
    export = component(export_model.export_model)
    find_champion = component(resolve_champion.resolve_champion)
    score = component(evaluate.evaluate)
    decide = component(gate.gate)
    promote_candidate = component(promote.promote)
    hold_candidate = component(hold.hold)
    write_report = component(report.report)
    look_back = component(should_run.should_run)
    write_down = component(remember.remember)
    end = component(unchanged.unchanged)

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
        run = {
            "train_digest": checked.outputs["train_digest"],
            "val_digest": checked.outputs["val_digest"],
            "config": config,
            "runtime": runtime,
            "seed": seed,
            "image": target.image,
            "registry": registry,
            "pipeline_root": dsl.PIPELINE_ROOT_PLACEHOLDER,
        }
        fresh = look_back("anything new", cached=False, only_if_changed=only_if_changed, **run)
        with dsl.If(fresh.output == True, name="changed"):  # noqa: E712 - kfp overloads ==
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
                    preprocess_on=preprocess_on,
                    dataflow=dataflow,
                    beam_args=beam_args,
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
                runtime=runtime,
                work_dir=work_dir,
                # A custom job takes them from nobody else; a plain task has the run's own.
                **({"service_account": service_account, "network": network} if target.custom_job else {}),
            )
            validation = {
                "images": val_images,
                "annotations": val_annotations,
                "data_digest": checked.outputs["val_digest"],
                "work_dir": work_dir,
            }
            exported = export("export", cached=True, checkpoint=trained.outputs["checkpoint"], **validation)
            candidate = score(
                "evaluate candidate", cached=True, model=exported.output, name="evaluate-candidate", **validation
            )
            # Asked late, so that the champion is the one at the time of the decision; scored after the candidate, so
            # that whatever fails there is the champion's own fault and not the images'.
            champion = find_champion(
                "find champion", cached=False, registry=registry, alias="champion", known=""
            ).after(candidate)
            # Not cached: a champion that could not be scored once would stay so.
            champion_scored = score(
                "evaluate champion",
                cached=False,
                model=champion.outputs["champion"],
                name="evaluate-champion",
                **validation,
            )
            # Small losses that the tolerance allows must not add up: the best version is compared with, too.
            best = find_champion(
                "find best", cached=False, registry=registry, alias="best", known=champion.outputs["Output"]
            )
            best_scored = score(
                "evaluate best", cached=False, model=best.outputs["champion"], name="evaluate-best", **validation
            )
            decision = decide(
                "gate",
                cached=False,
                candidate=candidate.output,
                champion=champion_scored.output,
                champion_version=champion.outputs["Output"],
                best=best_scored.output,
                best_version=best.outputs["Output"],
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
                    # A schedule's runs all have the same parameters: this names each of them.
                    job=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                )
            with dsl.Else(name="held"):
                held = hold_candidate("hold", cached=False, decision=decision.outputs["decision"])
            outcome = dsl.OneOf(promoted.output, held.output)
            reported = write_report(
                "report",
                cached=False,
                outcome=outcome,
                data=checked.outputs["report"],
                train_records=records["train"].output,
                val_records=records["val"].output,
                checkpoint=trained.outputs["checkpoint"],
                model=exported.output,
                candidate=candidate.output,
                champion=champion_scored.output,
                decision=decision.outputs["decision"],
                images=val_images,
                annotations=val_annotations,
                config=config,
                work_dir=work_dir,
            )
            # Last, so that a run that broke is not the last completed one.
            remembered = write_down("remember the run", cached=False, outcome=outcome, **run).after(reported)
        with dsl.Else(name="unchanged"):
            nothing_new = end("nothing new", cached=False)
        return dsl.OneOf(remembered.output, nothing_new.output)

    described = dsl.pipeline(name=NAME, description="CenterNet from a COCO data set to a promoted or held model.")
    return described(_notifying(training_pipeline, target.notify) if target.notify else training_pipeline)


def _notifying(graph: Callable[..., str], recipients: tuple[str, ...]) -> Callable[..., None]:
    """The graph with a mail at its end, however it ends. It has no output then: kfp lets none out of the handler."""
    from google_cloud_pipeline_components.v1.vertex_notification_email import VertexNotificationEmailOp

    @wraps(graph)
    def with_mail(*arguments: Any) -> None:
        mail = VertexNotificationEmailOp(recipients=list(recipients)).set_display_name("mail the outcome")
        with dsl.ExitHandler(mail.set_caching_options(False), name="the run"):
            graph(*arguments)

    signature = inspect.signature(graph).replace(return_annotation=inspect.Signature.empty)
    with_mail.__signature__ = signature  # type: ignore[attr-defined]
    del with_mail.__annotations__["return"], with_mail.__wrapped__
    return with_mail
