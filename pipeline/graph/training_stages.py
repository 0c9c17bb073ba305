"""The stages of a training, for the graphs that have them: all of one, a branch of the other.

data_check -> preprocess -> compare_splits -> train -> export -> evaluate(candidate)
resolve champion and best -> evaluate(champion), evaluate(best) -> gate -> promote | request approval | hold
-> report -> remember
"""

from dataclasses import dataclass
from typing import Any

from kfp import dsl

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
from components.track import track
from components.train import train
from pipeline.graph.targets import Target
from pipeline.graph.tasks import Tasks

ROOT, JOB = dsl.PIPELINE_ROOT_PLACEHOLDER, dsl.PIPELINE_JOB_ID_PLACEHOLDER
STAGES = ("preprocess", "train", "export", "gate")
"""Stages that read a section of the configuration."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """The graph's parameters that these stages take, as kfp hands them to the graph's function."""

    train_images: Any
    train_annotations: Any
    val_images: Any
    val_annotations: Any
    config: Any
    registry: Any
    run_id: Any
    work_dir: Any
    seed: Any
    runtime: Any
    preprocess_on: Any
    dataflow: Any
    beam_args: Any
    service_account: Any
    network: Any
    strict: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """Adds the stages to the graph that is being defined."""

    target: Target
    task: Tasks
    given: Given

    @property
    def this_run(self) -> dict[str, Any]:
        """All runs of a schedule have the same parameters; the job id tells them apart."""
        return {"run_id": self.given.run_id, "job": JOB}

    @property
    def ended(self) -> dict[str, Any]:
        """The last stages' input `job`: only the alert reads how a run ended."""
        return {"job": JOB if self.target.webhook else ""}

    @property
    def noted(self) -> dict[str, Any]:
        """Where a run that trains nothing notes how it ended."""
        return {"pipeline_root": ROOT, **self.ended}

    def check(self) -> dsl.PipelineTask:
        """The first stage."""
        task, given = self.task, self.given
        # Tasks that read the outside world are never cached. Tasks that compute are cached by content: the digests
        # are among their inputs.
        made: dsl.PipelineTask = task(
            data_check,
            "check the data",
            cached=False,
            train_images=given.train_images,
            train_annotations=given.train_annotations,
            val_images=given.val_images,
            val_annotations=given.val_annotations,
            config=given.config,
            runtime=given.runtime,
            work_dir=given.work_dir,
            preprocess_on=given.preprocess_on,
            dataflow=given.dataflow,
            beam_args=given.beam_args,
            run_id=JOB,
            strict=given.strict,
        )
        return made

    def identity(self, checked: dsl.PipelineTask) -> dict[str, Any]:
        """What determines a run's result, and where it is noted."""
        return {
            "train_digest": checked.outputs["train_digest"],
            "val_digest": checked.outputs["val_digest"],
            **{f"{name}_config": checked.outputs[f"{name}_config"] for name in STAGES},
            "seed": self.given.seed,
            "image": self.target.image,
            "registry": self.given.registry,
            "pipeline_root": ROOT,
        }

    def train_and_judge(self, checked: dsl.PipelineTask) -> Any:
        """All stages after the check; the output is the run's outcome."""
        task, given, target = self.task, self.given, self.target
        sections = {name: checked.outputs[f"{name}_config"] for name in STAGES}
        records = task(
            preprocess,
            "preprocess train",
            cached=True,
            images=given.train_images,
            annotations=given.train_annotations,
            data_digest=checked.outputs["train_digest"],
            config=sections["preprocess"],
            seed=given.seed,
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
            seed=given.seed,
            # A custom job needs its own; a plain task has the run's.
            **({"service_account": given.service_account, "network": given.network} if target.custom_job else {}),
        ).after(compared)
        validation = {
            "images": given.val_images,
            "annotations": given.val_annotations,
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
        resolution = {"registry": given.registry, "work_dir": given.work_dir, **self.this_run}
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
            "registry": given.registry,
            "config": sections["gate"],
            **self.this_run,
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
            images=given.val_images,
            annotations=given.val_annotations,
            config=given.config,
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
                registry=given.registry,
                plan=target.deploy,
                run_id=JOB,
            )
            deployed.append(served.after(reported))
        # Last, so that a run that failed does not count as completed.
        remembered = task(
            remember,
            "remember the run",
            cached=False,
            outcome=outcome,
            report=reported.outputs["Output"],
            **self.identity(checked),
            **self.ended,
        ).after(*deployed)
        return remembered.output


def _resolved(found: dsl.PipelineTask) -> dict[str, Any]:
    """The model that `resolve_champion` found, as `evaluate` takes it. There is no digest: it is not cached."""
    return {**{name: found.outputs[name] for name in ("model", "status", "reason")}, "model_digest": ""}
