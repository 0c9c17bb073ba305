"""`watch.html`: verdict, statistics, images to label and images that differ most, on one self-contained page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from beam_preprocess.base.files import write_text
from trainer.report.pictures import Mark, Picture, drawn, rows_of
from trainer.scoring.results import ScoredImage, read_results
from trainer.shared.draw import DETECTION_COLOUR
from trainer.watch.result import WORDS, DifferentImage, Statistic, WatchResult
from trainer.watch.to_label import NAME as TO_LABEL
from trainer.watch.to_label import ToLabel
from trainer.watch.worth import Pick

PICTURES = 12
LABEL_PICTURES = 6
LISTED = 12
"""Maximum number of statistics in the first table that did not move."""
GROUPS = {
    "picture": "the picture, at the network's input size",
    "image": "the file",
    "detections": "all detections of an image",
    "classes": "one class",
    "features": "the backbone's features",
}


def write_page(result: WatchResult, to_label: ToLabel, output: str, *, threshold: float) -> None:
    """Writes the page.

    Args:
      result: what it shows.
      to_label: the images to label, likewise.
      output: URI of the page.
      threshold: detections below it are not drawn on the images that differ most.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    moved = [entry for entry in result.statistics if entry.drifted]
    others = [entry for entry in result.statistics if not entry.drifted]
    write_text(
        output,
        environment.get_template("watch.html.j2").render(
            result=result,
            words=WORDS[result.verdict],
            moved=moved,
            others=others[:LISTED],
            rest=others[LISTED:],
            groups=GROUPS,
            rows=rows_of(_pictures(result, threshold)),
            label_rows=rows_of(_label_pictures(result.images, to_label)),
            picks=to_label.picked.picks,
            to_label=TO_LABEL,
            why=_why,
            colour=f"rgb{DETECTION_COLOUR}",
            threshold=threshold,
            effect=_effect,
        ),
    )


def _pictures(result: WatchResult, threshold: float) -> list[Picture]:
    wanted = {entry.image_id: entry for entry in result.different[:PICTURES]}
    scored = {image.id: image for image in read_results(result.scores) if image.id in wanted}
    return [_picture(result.images, scored[number], entry, threshold) for number, entry in wanted.items()]


def _picture(folder: str, image: ScoredImage, entry: DifferentImage, threshold: float) -> Picture:
    low, high = entry.usual
    usual = (
        f"usually up to {_number(high)}" if entry.statistic == "look" else f"usually {_number(low)} to {_number(high)}"
    )
    shown = [detection for detection in image.detections if detection["score"] >= threshold]
    return _drawn(folder, image, shown, f"{entry.statistic} {_number(entry.value)}, {usual}")


def _label_pictures(folder: str, to_label: ToLabel) -> list[Picture]:
    shown = zip(to_label.images[:LABEL_PICTURES], to_label.picked.picks, strict=False)
    return [_drawn(folder, image, image.detections, _why(entry)) for image, entry in shown]


def _drawn(folder: str, image: ScoredImage, shown: Sequence[dict[str, Any]], caption: str) -> Picture:
    marks = [
        Mark(box=tuple(each["bbox"]), label=each["category"], colour=DETECTION_COLOUR, score=each["score"])
        for each in shown
    ]
    try:
        data_uri, aspect = drawn(folder, image.file_name, marks)
    except (OSError, ValueError) as error:
        return Picture(file_name=image.file_name, image_id=image.id, caption=caption, data_uri="", problem=str(error))
    return Picture(
        file_name=image.file_name,
        image_id=image.id,
        caption=caption,
        data_uri=data_uri,
        problem="",
        aspect=aspect,
        detections=len(shown),
    )


def _why(entry: Pick) -> str:
    """The reasons with their numbers."""
    numbers = {
        "uncertain": f" ({entry.doubtful} doubtful)",
        "novel": f" ({_number(entry.novelty)} times usual)",
        "rare class": f" ({', '.join(entry.rare)})",
        "drifted": f" ({entry.statistic})",
    }
    return ", ".join(reason + numbers.get(reason, "") for reason in entry.reasons)


def _effect(entry: Statistic) -> dict[str, float]:
    """Left edge and width of an effect's bar, in percent."""
    return {"left": 50 + 50 * min(entry.effect, 0.0), "width": 50 * abs(entry.effect)}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
