"""One sentence: what to do next, by the errors. The first rule that applies wins."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.coco.analysis import Analysis
from trainer.coco.label_errors import Finding
from trainer.promotion.serving import Serving
from trainer.promotion.summary import Summary
from trainer.report.label_files import COCO
from trainer.report.words import finite

SURE = 0.7
"""Suspicion from which label errors come before everything else,"""
SURE_SHARE = 0.02
"""if they are at least this share of all objects,"""
SURE_COUNT = 3
"""and at least this many."""
FEW_OBJECTS = 100
"""Fewer validation objects say little about a model."""
RISING = 0.01
"""AP gained in the last quarter of the training from which more steps are worth it."""
SMALL_SHARE, SMALL_AP = 0.3, 0.5
"""Small objects are the problem from this share of the objects, and below this share of the AP of the larger ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What the rules look at."""

    run: Summary
    analysis: Analysis
    findings: Sequence[Finding]
    serving: Serving | None
    files: Mapping[int, str]
    """Image id to file name."""


def next_step(facts: Facts) -> str:
    """The sentence."""
    return next(text for rule in RULES if (text := rule(facts)))


def _labels(facts: Facts) -> str:
    sure = [finding for finding in facts.findings if finding.suspicion >= SURE]
    if len(sure) < max(SURE_COUNT, SURE_SHARE * facts.analysis.overall.objects):
        return ""
    images = len({finding.image_id for finding in sure})
    first = facts.files.get(sure[0].image_id, str(sure[0].image_id))
    return (
        f"Look at the labels first: {len(sure)} boxes in {images} images contradict confident detections. Open {COCO} "
        f"in a labelling tool and start with {first}. Where the label is right, it is the model's error."
    )


def _few_objects(facts: Facts) -> str:
    objects = facts.analysis.overall.objects
    if objects >= FEW_OBJECTS:
        return ""
    return f"Annotate more validation images: {objects} objects are too few to tell a better model from a lucky one."


def _still_rising(facts: Facts) -> str:
    points = [
        (row["step"], row["ap"]) for row in facts.run.history if finite(row.get("ap")) and finite(row.get("step"))
    ]
    if len(points) < 3:
        return ""
    last_step, last = points[-1]
    before = max(ap for step, ap in points if step <= max(0.75 * last_step, points[0][0]))
    if last - before < RISING:
        return ""
    return (
        f"Train longer: AP rose by {last - before:.3f} in the last quarter of the steps. Raise trainer.train_steps, "
        "and the learning rate's schedule with it."
    )


def _main_error(facts: Facts) -> str:
    """The sentence of the most frequent kind of error."""
    errors = facts.analysis.errors
    counts = {
        "missed": errors["missed"] - errors["confused"],
        **{name: errors[name] for name in ("confused", "mislocalised", "background", "duplicate")},
    }
    kind = max(counts, key=lambda name: counts[name])
    if not counts[kind]:
        return ""
    advice: dict[str, Callable[[Facts, int], str]] = {
        "missed": _missed,
        "confused": _confused,
        "mislocalised": _mislocalised,
        "background": _background,
        "duplicate": _duplicate,
    }
    return advice[kind](facts, counts[kind])


def _missed(facts: Facts, count: int) -> str:
    sizes, run = facts.analysis.objects_by_size, facts.run
    small = sizes.get("small", 0)
    larger = max((ap for ap in (run.ap_medium, run.ap_large) if ap is not None and finite(ap)), default=0.0)
    many = small >= SMALL_SHARE * max(1, sum(sizes.values()))
    if many and run.ap_small is not None and run.ap_small < SMALL_AP * larger:  # also refuses NaN
        return (
            f"Raise the input size: {small} of {sum(sizes.values())} objects are small, and their AP is "
            f"{run.ap_small:.3f} against {larger:.3f} of the larger ones."
        )
    worst = max(facts.analysis.per_class, key=lambda entry: entry.counts.missed - entry.counts.confused)
    known: Any = (run.data.get("train") or {}).get("class_histogram") or {}
    trained = f"; the training data has {known[worst.name]:,} of them" if worst.name in known else ""
    return (
        f"Annotate more training images with {worst.name!r}: {worst.counts.missed} of "
        f"{worst.counts.missed + worst.counts.correct} were missed{trained}."
    )


def _confused(facts: Facts, count: int) -> str:
    matrix, classes = facts.analysis.confusion.matrix, facts.analysis.confusion.classes
    names = {entry.category_id: entry.name for entry in facts.run.per_class}
    pairs = {(i, j): matrix[i][j] for i in range(len(classes)) for j in range(len(classes)) if i != j}
    i, j = max(pairs, key=lambda pair: pairs[pair])
    true, taken = (names.get(classes[k], str(classes[k])) for k in (i, j))
    return (
        f"Look at {true!r} and {taken!r} together: {pairs[i, j]} objects of the first were found as the second. Are "
        "they labelled by the same rule? If so, annotate more of both."
    )


def _mislocalised(facts: Facts, count: int) -> str:
    return (
        f"Look at how tightly boxes are drawn: {count} detections of the right class overlap their object by less than "
        "half. If the labels are even, train longer or raise the input size."
    )


def _background(facts: Facts, count: int) -> str:
    used = facts.analysis.score_threshold
    if facts.serving and facts.serving.score_threshold > used:
        recommended = facts.serving.score_threshold
        return (
            f"Serve with the recommended threshold {recommended:.2f}: at {used:g}, {count} detections are where "
            "nothing is annotated. Add training images of such places without objects."
        )
    return (
        f"Add training images without objects, of places like those of the {count} detections where nothing is "
        "annotated."
    )


def _duplicate(facts: Facts, count: int) -> str:
    return (
        f"Look for objects that are annotated in two ways (whole and in parts): {count} detections are the second of "
        "their object."
    )


def _nothing(facts: Facts) -> str:
    return (
        f"The model makes no error at a score of {facts.analysis.score_threshold:g}: collect harder validation images "
        "before you change it."
    )


RULES: tuple[Callable[[Facts], str], ...] = (_labels, _few_objects, _still_rising, _main_error, _nothing)
"""In the order of precedence; the last one always applies."""
