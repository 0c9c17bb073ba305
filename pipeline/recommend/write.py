"""From data to the text of a configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from beam_preprocess.base import yaml
from beam_preprocess.base.config_text import ConfigText, changed, resolve, resolve_text
from beam_preprocess.base.errors import InputError
from beam_preprocess.format.annotations import CocoAnnotations
from pipeline.recommend import rules, speed, text
from pipeline.recommend.base import Base, base_of
from pipeline.recommend.choices import Choice, Recommendation, Speed
from pipeline.recommend.facts import Facts, gather
from pipeline.recommend.hardware import CPU, Hardware
from trainer.config.sections import RunConfig, parse_config

MINUTES = 10.0
LONGEST = 60 * 24 * 30
WHERE = "the configuration written from the data"


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A configuration and its reasons."""

    base: str
    header: str
    choices: tuple[Choice, ...]
    lines: Mapping[str, str]
    """What was chosen, in five lines: title to text."""

    def file(self) -> str:
        """For `--config`: it begins with `base:`."""
        return text.with_base(self.base, self.choices, self.header)

    def config(self, changes: Sequence[str] = ()) -> ConfigText:
        """For a run: all values, with the comments, and with the user's changes."""
        merged = resolve_text(self.file(), WHERE, changes)
        values = yaml.load(merged.text, merged.where)
        return ConfigText(text=text.standing_alone(values, self.choices, self.header), where=merged.where)


def write(
    parsed: Mapping[str, CocoAnnotations],
    folder: str,
    *,
    hardware: Hardware = CPU,
    minutes: float = MINUTES,
    changes: Sequence[str] = (),
    known: Path | None = None,
) -> Written:
    """Looks at the data, measures this machine, and chooses.

    Args:
      parsed: the sound annotation files of both splits, "train" and "val".
      folder: of the training images, a path or URI.
      hardware: what trains.
      minutes: of training.
      changes: the user's `--set` arguments. What they give is not chosen.
      known: see `speed.measured`.

    Raises:
      InputError: the data or a change can't be used.
    """
    check_minutes(minutes)
    facts = gather(parsed, folder)
    start = changed(changes).get("task.init_checkpoint")
    large = start is None and rules.wants_large(facts, hardware, minutes)
    base = base_of(hardware, start, large=large)
    found = choose(facts, base, hardware, minutes=minutes, changes=changes, known=known)
    return Written(base=base.name, header=_header(facts, hardware, minutes), choices=found.choices, lines=found.lines)


def before_data(hardware: Hardware, minutes: float, changes: Sequence[str]) -> RunConfig:
    """The base with the user's changes, which needs no data; long work comes after it.

    Raises:
      InputError: a number or a change that can't be used.
    """
    check_minutes(minutes)
    checked = resolve(base_of(hardware, changed(changes).get("task.init_checkpoint")).name, changes)
    return parse_config(checked.text, checked.where)


def check_minutes(minutes: float) -> None:
    """Refuses a duration that isn't one.

    Raises:
      InputError: that.
    """
    if not 0.5 <= minutes <= LONGEST:  # also refuses NaN
        raise InputError(f"--minutes {minutes:g}: give the minutes of the training, from 0.5 to {LONGEST:,}")


def choose(
    facts: Facts, base: Base, hardware: Hardware, *, minutes: float, changes: Sequence[str], known: Path | None
) -> Recommendation:
    """All choices; the trial is skipped where the user gives the steps."""
    given = changed(changes)
    pace = None
    if given.get("trainer.train_steps") is None:
        pace = speed.stated(hardware, base.kind) if hardware.peak else _trial(facts, base, hardware, changes, known)
    return rules.recommend(facts, base, hardware, minutes=minutes, speed=pace, given=given)


def _trial(facts: Facts, base: Base, hardware: Hardware, changes: Sequence[str], known: Path | None) -> Speed:
    """Times the base's network at the input that the data would take without a limit of time."""
    given = changed(changes)
    found = rules.chosen_input(facts, base, hardware, minutes=0, speed=None, given=given)
    batch = given.get("task.train_data.global_batch_size") or rules.batch_of(facts, base, hardware, found.pixels)
    wanted = (f"preprocess.image_size={list(found.size)}", f"task.train_data.global_batch_size={batch}")
    config = resolve(base.name, [*wanted, *changes])
    return speed.measured(config.text, len(facts.classes), batch * found.pixels, known)


def _header(facts: Facts, hardware: Hardware, minutes: float) -> str:
    sample = f"the headers of {facts.sampled} training images were read, and "
    sample += (
        f"{facts.odd} can't be read or have another size than the annotations say (centernet check lists them)"
        if facts.odd
        else "agree with the annotations"
    )
    return (
        f"Written by centernet init for {hardware.name} and {minutes:g} minutes of training, from "
        f"{facts.train_images:,} training and {facts.val_images:,} validation images, {len(facts.objects):,} training "
        f"objects, {len(facts.classes)} classes; {sample}."
    )
