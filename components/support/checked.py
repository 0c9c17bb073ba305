"""What the first stage finds out: which data the run is on, and what each later stage reads."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from beam_preprocess.base.files import write_text
from beam_preprocess.dataset.check import check_data
from beam_preprocess.format.fingerprints import NAME as FINGERPRINTS
from beam_preprocess.format.fingerprints import to_lines
from components.support.run_options import read_options
from components.support.stage import threads
from trainer.config.canonical import stage_configs
from trainer.config.sections import parse_config


class Checked(NamedTuple):
    """The outputs of `check the data`; the names are the component's."""

    train_digest: str
    val_digest: str
    val_objects: int
    preprocess_config: str
    train_config: str
    export_config: str
    gate_config: str


def check(data: Mapping[str, str], config: str, runtime: str, place: str, output: str) -> Checked:
    """Checks data and options, and writes data.json and the validation images' fingerprints.

    Args:
      data: arguments of `check_data`: folder and annotation file of both splits.
      config: the run's YAML text.
      runtime: the target's keys, which win over the configuration's.
      place: where the backend put the stage's output; the run's options are found from it.
      output: the stage's folder.

    Raises:
      InputError: data, configuration or an option can't be used.
    """
    texts = stage_configs(config, runtime)
    options = read_options(place)
    # Only a check: preprocessing builds them again.
    options.beam(output=place, split="train")
    found = check_data(**data, config=parse_config(config).preprocess, num_workers=threads(), strict=options.strict)
    # The records of the training images bring their own.
    val_fingerprints = [found[split].pop("fingerprints") for split in ("train", "val")][1]
    write_text(f"{output}/{FINGERPRINTS}", to_lines(val_fingerprints))
    write_text(f"{output}/data.json", json.dumps(found, indent=1))
    train, val, classes = found["train"], found["val"], len(found["categories"])
    counts = f"train {train['images']} images, {train['objects']} objects; val {val['images']} images, "
    print(f"result: {counts}{val['objects']} objects; {classes} classes", flush=True)
    return Checked(
        train_digest=train["data_digest"],
        val_digest=val["data_digest"],
        val_objects=val["objects"],
        preprocess_config=texts.preprocess,
        train_config=texts.train,
        export_config=texts.export,
        gate_config=texts.gate,
    )
