"""Model Garden's `--params_override`: key=value,…, YAML, or the path of a YAML file."""

import contextlib
import json
from typing import Any

import tensorflow as tf
from official.modeling.hyperparams import params_dict

from beam_preprocess.base import yaml
from beam_preprocess.base.errors import InputError
from beam_preprocess.base.json import described
from trainer.config.sections import EXPERIMENT_SECTIONS


def with_runtime(params_override: str, **runtime: str) -> str:
    """Adds keys of the `runtime:` section to a --params_override of any form; they win over its own."""
    values = parse_override(params_override, "--params_override") if params_override else {}
    return json.dumps(values | {"runtime": (values.get("runtime") or {}) | runtime})


def parse_override(text: str, where: str) -> dict[str, Any]:
    """The sections of a --params_override.

    Args:
      text: key=value,…, YAML, or a path.
      where: its origin, for messages.

    Raises:
      InputError: none of the three, or not a mapping of sections.
    """
    is_flags = False
    with contextlib.suppress(ValueError):  # not key=value,…
        text, is_flags = params_dict.nested_csv_str_to_json_str(text), True
    values = yaml.load(text, where, last_wins=is_flags)
    try:
        if not isinstance(values, dict):
            with tf.io.gfile.GFile(text) as file:
                values = yaml.load(file.read(), f"{where} {text}")
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: neither key=value,… nor YAML nor a file; use trainer.train_steps=100") from error
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected sections {', '.join(EXPERIMENT_SECTIONS)}, got {described(values)}")
    return values
