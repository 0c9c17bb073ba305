"""The graph: from a COCO data set to a promoted or held model, and a report on it.

data_check -> should_run -> preprocess -> compare_splits -> train -> export -> evaluate(candidate)
resolve champion and best -> evaluate(champion), evaluate(best) -> gate -> promote | request approval | hold
-> report -> remember

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

from components.alert import alert
from components.compare_splits import compare_splits
from components.data_check import data_check
from components.deploy import deploy
from components.evaluate import evaluate
from components.export_model import export_model
from components.gate import gate
from components.hold import hold
from components.preprocess import preprocess
from components.promote import promote
from components.remember import remember
from components.report import report
from components.resolve_champion import resolve_champion
from components.should_run import should_run
from components.track import track
from components.train import train
from components.unchanged import unchanged
from pipeline.graph import kfp_spec, pods
from pipeline.graph.targets import Target
from pipeline.graph.tasks import Tasks
from trainer.shared.webhook import CLUSTER_SECRET, CLUSTER_VARIABLE, SECRET_VERSION

NAME = "centernet-training"


def make_pipeline(target: Target) -> Any:
    """The pipeline for one target: kfp's graph component. Compile it, or call it to run it."""
    task = Tasks(target)
    root, job = dsl.PIPELINE_ROOT_PLACEHOLDER, dsl.PIPELINE_JOB_ID_PLACEHOLDER
    ended = {"job": job if target.webhook else ""}  # only the alert reads how a run ended

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
        # Tasks that read the outside world are never cached. Tasks that compute are cached by content: the digests
        # are among their inputs.
        checked = task(
            data_check,
            "check the data",
            cached=False,
            train_images=train_images,
            train_annotations=train_annotations,
            val_images=val_images,
            val_annotations=val_annotations,
            config=config,
            runtime=runtime,
            work_dir=work_dir,
            preprocess_on=preprocess_on,
            dataflow=dataflow,
            beam_args=beam_args,
            run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            strict=strict,
        )
        sections = {name: checked.outputs[f"{name}_config"] for name in ("preprocess", "train", "export", "gate")}
        run = {
            "train_digest": checked.outputs["train_digest"],
            "val_digest": checked.outputs["val_digest"],
            **{f"{name}_config": text for name, text in sections.items()},
            "seed": seed,
            "image": target.image,
            "registry": registry,
            "pipeline_root": root,
        }
        changed = task(should_run, "check for changes", cached=False, only_if_changed=only_if_changed, **run)
        with dsl.If(changed.output == True, name="changed"):  # noqa: E712 - kfp overloads ==
            records = task(
                preprocess,
                "preprocess train",
                cached=True,
                images=train_images,
                annotations=train_annotations,
                data_digest=checked.outputs["train_digest"],
                config=sections["preprocess"],
                seed=seed,
            )
            # Not cached: the records may be an earlier run's, and the validation images new.
            compared = task(
                compare_splits,
                "compare the splits",
                cached=False,
                records=records.outputs["Output"],
                data=checked.outputs["report"],
            )
            # No validation images: they gate, so training neither sees nor monitors them.
            trained = task(
                train,
                "train",
                cached=True,
                records=records.outputs["Output"],
                config=sections["train"],
                seed=seed,
                # A custom job needs its own; a plain task has the run's.
                **({"service_account": service_account, "network": network} if target.custom_job else {}),
            ).after(compared)
            validation = {
                "images": val_images,
                "annotations": val_annotations,
                "data_digest": checked.outputs["val_digest"],
            }
            exported = task(
                export_model,
                "export",
                cached=True,
                checkpoint=trained.outputs["Output"],
                config=sections["export"],
                **validation,
            )
            candidate = task(
                evaluate,
                "evaluate candidate",
                cached=True,
                model=exported.outputs["folder"],
                model_digest=exported.outputs["digest"],
                status="candidate",
                reason="",
                name="evaluate-candidate",
                **validation,
            )
            # All runs of a schedule have the same parameters; the job id tells them apart.
            this_run = {"run_id": run_id, "job": dsl.PIPELINE_JOB_ID_PLACEHOLDER}
            resolution = {"registry": registry, "work_dir": work_dir, **this_run}
            # The registry is read late, so that the champion is the current one when the gate decides. The champion
            # is scored after the candidate: if scoring then fails, the champion is to blame, not the images.
            champion = task(
                resolve_champion, "find champion", cached=False, alias="champion", known="", **resolution
            ).after(candidate)
            # Not cached: a failure to score the champion would be cached as well.
            champion_scored = task(
                evaluate,
                "evaluate champion",
                cached=False,
                **_resolved(champion),
                name="evaluate-champion",
                **validation,
            )
            # The candidate is also compared with the best version, so that small losses that the tolerance allows
            # can't add up from run to run.
            best = task(
                resolve_champion,
                "find best",
                cached=False,
                alias="best",
                known=champion.outputs["version"],
                **resolution,
            )
            best_scored = task(
                evaluate,
                "evaluate best",
                cached=False,
                **_resolved(best),
                name="evaluate-best",
                **validation,
            )
            decision = task(
                gate,
                "gate",
                cached=False,
                candidate=candidate.output,
                champion=champion_scored.output,
                champion_version=champion.outputs["version"],
                best=best_scored.output,
                best_version=best.outputs["version"],
                config=sections["gate"],
                val_objects=checked.outputs["val_objects"],
            )
            promotion = {
                "decision": decision.outputs["decision"],
                "model": exported.outputs["model"],
                "candidate": candidate.output,
                "registry": registry,
                "config": sections["gate"],
                **this_run,
            }
            # The same component twice: what it does is in the decision. The name shows it on every service.
            with dsl.If(decision.outputs["Output"] == "promote", name="promoted"):
                promoted = task(promote, "promote", cached=False, **promotion)
            with dsl.Elif(decision.outputs["Output"] == "ask", name="pending"):
                asked = task(promote, "request approval", cached=False, **promotion)
            with dsl.Else(name="held"):
                held = task(hold, "hold", cached=False, decision=decision.outputs["decision"])
            outcome = dsl.OneOf(promoted.output, asked.output, held.output)
            reported = task(
                report,
                "report",
                cached=False,
                outcome=outcome,
                data=checked.outputs["report"],
                train_records=records.outputs["records"],
                checkpoint=trained.outputs["checkpoint"],
                model=exported.outputs["model"],
                candidate=candidate.output,
                champion=champion_scored.output,
                decision=decision.outputs["decision"],
                images=val_images,
                annotations=val_annotations,
                config=config,
            )
            if target.tracking:
                task(
                    track,
                    "send the curves",
                    cached=False,
                    summary=reported.outputs["summary"],
                    tracking=target.tracking,
                    job=dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER,
                )
            deployed = []
            if target.deploy:
                # After the report, which tells what was promoted, whatever becomes of the deployment.
                served = task(
                    deploy,
                    "deploy",
                    cached=False,
                    outcome=outcome,
                    registry=registry,
                    plan=target.deploy,
                    run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                )
                deployed.append(served.after(reported))
            # Last, so that a run that failed does not count as completed.
            remembered = task(
                remember,
                "remember the run",
                cached=False,
                outcome=outcome,
                report=reported.outputs["Output"],
                **run,
                **ended,
            ).after(*deployed)
        with dsl.Else(name="unchanged"):
            nothing_new = task(unchanged, "nothing new", cached=False, pipeline_root=root, **ended)
        return dsl.OneOf(remembered.output, nothing_new.output)

    described = dsl.pipeline(name=NAME, description="CenterNet from a COCO data set to a promoted or held model.")
    last = []
    if target.notify:
        last.append(lambda: _mail(target.notify))
    if target.webhook:
        last.append(lambda: _alert(task, target.webhook))
    return described(kfp_spec.in_exit_handler(training_pipeline, "the run", last) if last else training_pipeline)


def _resolved(found: dsl.PipelineTask) -> dict[str, Any]:
    """The model that `resolve_champion` found, as `evaluate` takes it. There is no digest: it is not cached."""
    return {**{name: found.outputs[name] for name in ("model", "status", "reason")}, "model_digest": ""}


def _mail(recipients: tuple[str, ...]) -> dsl.PipelineTask:
    # It takes seconds to import, and other runs don't need it.
    from google_cloud_pipeline_components.v1.vertex_notification_email import VertexNotificationEmailOp

    made: dsl.PipelineTask = VertexNotificationEmailOp(recipients=list(recipients))
    return made.set_display_name("mail the outcome").set_caching_options(False)


def _alert(task: Tasks, secret: str) -> dsl.PipelineTask:
    # Only Vertex AI fills in the resource name, which has the project that a link needs.
    vertex = SECRET_VERSION.fullmatch(secret)
    added = task(
        alert,
        "alert",
        cached=False,
        secret=secret,
        pipeline_root=dsl.PIPELINE_ROOT_PLACEHOLDER,
        job=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        run=dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER if vertex else dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
    )
    if cluster := CLUSTER_SECRET.fullmatch(secret):
        pods.place(added, pods.Pod(secrets=(pods.Secret(name=cluster[1], key=cluster[2], env=CLUSTER_VARIABLE),)))
    return added
