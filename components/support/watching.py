"""The stage `watch`: new images by the champion that was found, and what the later stages and the alert need of it."""

import html
from collections.abc import Mapping

from beam_preprocess.base.errors import Failure
from beam_preprocess.base.files import write_text
from components.support.run_options import read_options
from trainer.promotion.due import NO_CHAMPION, WATCHED, Watched, write_watched

PAGE = "watch.html"


def look(
    new: Mapping[str, str],
    validation: Mapping[str, str],
    registry: str,
    champion: tuple[str, str, str],
    place: str,
    output: str,
) -> Watched:
    """Watches, and writes `watched.json` last.

    Args:
      new: `images` and `since` of `trainer.watch.run.watch`.
      validation: `images` and `annotations` of the run.
      registry: of the champion.
      champion: its version, status and reason, as resolve_champion hands them out.
      place: where the backend put the stage's output; the run's options are found from it.
      output: the stage's folder.

    Raises:
      Failure: there is a champion, and it can't be used.
    """
    version, status, reason = champion
    if status == "none":
        found = _nothing_seen(NO_CHAMPION, reason, output)
    elif status != "ready":
        raise Failure(f"champion {version}: can't watch: {reason}")
    else:
        found = _seen(new, validation, registry, version, place, output)
    write_watched(found, f"{output}/{WATCHED}")
    print(f"result: {found.said}", flush=True)
    return found


def _seen(
    new: Mapping[str, str], validation: Mapping[str, str], registry: str, version: str, place: str, output: str
) -> Watched:
    from trainer.watch.result import WORDS
    from trainer.watch.run import watch  # imports Beam: only when it is needed
    from trainer.watch.since import NothingNewer
    from trainer.watch.to_label import NAME as TO_LABEL

    options = read_options(place)
    beam = options.beam(output=place, split="watch")
    try:
        result = watch(
            images=new["images"],
            since=new["since"],
            output=output,
            model=version,
            registry=registry,
            val_images=validation["images"],
            val_annotations=validation["annotations"],
            pipeline_args=beam,
        )
    except NothingNewer as error:
        return _nothing_seen("too-few-images", f"{WORDS['too-few-images']}: {error}", output)
    said = f"{WORDS[result.verdict]}: {result.reason}"
    return Watched(verdict=result.verdict, said=said, page=f"{output}/{PAGE}", to_label=f"{output}/{TO_LABEL}")


def _nothing_seen(verdict: str, said: str, output: str) -> Watched:
    """The page says so too: the later stages and the alert name it."""
    write_text(f"{output}/{PAGE}", f"<!doctype html><title>watch</title><p>{html.escape(said)}\n")
    return Watched(verdict=verdict, said=said, page=f"{output}/{PAGE}")
