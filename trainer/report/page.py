"""`report.html`: one self-contained page about one run, and the likely label errors as files next to it.

The page loads nothing: curves are inline SVG, pictures are data URIs, and there is no script.
"""

import functools
from pathlib import Path
from typing import Any

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import write_text
from trainer.coco.analysis import Analysis, read_analysis
from trainer.coco.label_errors import KINDS, Finding, label_errors
from trainer.coco.metrics import METRIC_NAMES
from trainer.promotion.serving import MIN_SUPPORT, Serving, recommend
from trainer.promotion.summary import Summary
from trainer.report import label_files, tables
from trainer.report.gallery import OTHER_COLOUR, Scene, gallery, suspects
from trainer.report.next_step import Facts, next_step
from trainer.report.plots import calibration_curve, precision_curves, threshold_curves, training_curves
from trainer.report.words import duration, fraction, plain_value, signed, significant, when
from trainer.shared.draw import DETECTION_COLOUR, TRUTH_COLOUR

TEMPLATES = Path(__file__).parent
PICTURES = 12
SUSPECTS = 12
"""Maximum number of pictures of likely label errors."""
SUSPECT_FILES = 10
"""Maximum number of suspicious images that the page lists by name; the file lists all."""
SCORE_THRESHOLD = 0.3
"""Without an analysis, which has its own."""


def write_report(
    *, run: Summary, predictions: str, annotations: str, images: str, output: str, analysis: str = ""
) -> None:
    """Writes the page, label_errors.json and label_errors.coco.json into one folder.

    Args:
      run: the run's summary.
      predictions: URI of the predictions in COCO results format.
      annotations: URI of the validation annotations.
      images: URI of the folder of the validation images.
      output: URI of the page.
      analysis: URI of analysis.json; if it cannot be read, the page says which parts are missing and why.

    Raises:
      InputError: a file is missing or has another format.
    """
    scene = Scene.read(images=images, annotations=annotations, predictions=predictions)
    analysed, no_analysis = _analysis(analysis)
    threshold = analysed.score_threshold if analysed else SCORE_THRESHOLD
    findings = label_errors(scene.coco, scene.predictions)
    folder = output.rpartition("/")[0] or "."
    label_files.write_label_files(folder, findings, scene.coco)
    serving = recommend(analysed) if analysed else None
    objects = {entry.category_id: entry.objects for entry in run.per_class}
    colours = {"truth": TRUTH_COLOUR, "detection": DETECTION_COLOUR, "other": OTHER_COLOUR}
    page = _template().render(
        run=run,
        annotations=annotations,
        colours={name: f"rgb{colour}" for name, colour in colours.items()},
        decision=run.decision,
        champion=run.champion,
        scored_champion=run.champion.status == "scored",
        next_step=_next_step(run, analysed, findings, serving, scene),
        metrics=tables.metric_rows(run, METRIC_NAMES),
        sizes=tables.metric_rows(run, tables.SIZE_METRICS, analysed.objects_by_size if analysed else {}),
        classes=tables.class_rows(run),
        comparisons=tables.comparisons(run.decision.intervals),
        no_analysis=no_analysis,
        errors=tables.error_rows(analysed) if analysed else [],
        mistakes=tables.mistake_rows(analysed, run) if analysed else [],
        matrix=tables.matrix(analysed, run) if analysed else None,
        class_errors=tables.class_error_rows(analysed, serving) if analysed else [],
        serving=serving,
        min_support=MIN_SUPPORT,
        thresholds=threshold_curves(analysed) if analysed else [],
        precision=precision_curves(analysed, objects) if analysed else [],
        calibration=calibration_curve(analysed) if analysed else [],
        findings=findings,
        finding_kinds=[(kind, sum(finding.kind == kind for finding in findings)) for kind in KINDS],
        suspect_files=tables.suspect_rows(findings, scene.files)[:SUSPECT_FILES],
        suspects=suspects(scene, findings, count=SUSPECTS),
        label_files=(label_files.LIST, label_files.COCO),
        groups=gallery(scene, count=PICTURES, score_threshold=threshold, analysis=analysed),
        score_threshold=threshold,
        curves=training_curves(run.history),
        validated=any("ap" in row for row in run.history),
        splits=tables.split_facts(run.data),
        rejects=tables.reject_rows(run.data),
        stages=tables.stage_rows(run.seconds),
    )
    write_text(output, page)


@functools.cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for written in (fraction, signed, significant, duration, plain_value, when):
        environment.filters[written.__name__] = written
    return environment.get_template("report.html.j2")


def _analysis(uri: str) -> tuple[Analysis | None, str]:
    """The analysis, or why there is none."""
    if not uri:
        return None, "no analysis.json was given"
    try:
        return read_analysis(uri), ""
    except InputError as error:
        return None, str(error)


def _next_step(
    run: Summary, analysis: Analysis | None, findings: tuple[Finding, ...], serving: Serving | None, scene: Scene
) -> str:
    if analysis is None:
        return "Evaluate the model again with centernet evaluate: without analysis.json the errors are unknown."
    return next_step(Facts(run=run, analysis=analysis, findings=findings, serving=serving, files=scene.files))
