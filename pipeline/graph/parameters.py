"""A compiled pipeline's parameters and their values. Wrong ones are refused before anything is sent.

Vertex AI's client accepts a submission without a required parameter, and the service then fails; so everything is
checked here.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from beam_preprocess.base.errors import InputError
from components.support.dataflow import STEP, beam_arguments


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter of a pipeline."""

    name: str
    type: str
    """kfp's name: STRING, NUMBER_INTEGER, NUMBER_DOUBLE, BOOLEAN, LIST or STRUCT."""
    required: bool
    default: Any = None


def signature(spec: Mapping[str, Any]) -> dict[str, Parameter]:
    """The parameters of a compiled pipeline, by name."""
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return {
        name: Parameter(
            name=name,
            type=facts["parameterType"],
            required="defaultValue" not in facts and not facts.get("isOptional", False),
            default=facts.get("defaultValue"),
        )
        for name, facts in declared.items()
    }


def split_pairs(flag: str, pairs: Iterable[str]) -> dict[str, str]:
    """`name=value` texts as a mapping.

    Raises:
      InputError: a text has no "=", or a name is given twice.
    """
    values: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"{flag} {pair}: has no name; write {flag} name=value")
        if name in values:
            raise InputError(f"{flag} {name}: given twice ({values[name]!r} and {value!r}); give it once")
        values[name] = value
    return values


def check_values(known: Mapping[str, Parameter], texts: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a run.

    Args:
      known: the pipeline's signature.
      texts: values of `--param name=value`, by name; parsed according to the parameter's type.
      values: typed values of other flags; a name that is also in `texts` is an error.

    Returns:
      Values by name, without parameters that keep their default.

    Raises:
      InputError: a name that the pipeline doesn't have, a value of another type, a name given twice, or a required
        parameter without value.
    """
    for name in texts:
        if name not in known:
            raise InputError(f"--param {name}: the pipeline has no such parameter; it has {', '.join(sorted(known))}")
        if name in values:
            raise InputError(f"--param {name}: also given by a flag; give one of the two")
    found = {**values, **{name: _parse(known[name], text) for name, text in texts.items()}}
    for name in values:
        if name not in known:
            raise InputError(f"--{name.replace('_', '-')}: this pipeline has no parameter {name}")
    missing = [name for name, parameter in known.items() if parameter.required and name not in found]
    if missing:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise InputError(f"{flags}: not given, and the pipeline needs it; give the flag, or --param {missing[0]}=VALUE")
    return found


def with_dataflow(
    known: Mapping[str, Parameter],
    values: Mapping[str, Any],
    *,
    project: str,
    region: str,
    service_account: str,
    network: str,
) -> dict[str, Any]:
    """The values of a run. The run's own place and account fill in what `dataflow` leaves out.

    Args:
      known: the pipeline's signature.
      values: by name, checked.
      project, region, service_account, network: the run's; "" means not given.

    Raises:
      InputError: a wrong value of preprocess_on, dataflow or beam_args.
    """
    found = {"preprocess_on": STEP, "beam_args": "", "dataflow": "{}"}
    found |= {name: known[name].default for name in found if name in known}
    found |= {name: values[name] for name in found if name in values}
    filled = dict(values)
    if found["preprocess_on"] != STEP:
        runs = {"project": project, "region": region, "service_account": service_account, "network": network}
        try:
            given = json.loads(found["dataflow"])
        except ValueError:
            given = None
        if isinstance(given, dict):  # anything else is refused below
            defaults = json.loads(known["dataflow"].default)
            found["dataflow"] = json.dumps(
                {**{name: value for name, value in runs.items() if value}, **defaults, **given}
            )
        filled["dataflow"] = found["dataflow"]
    # Only a check: the step builds them again, when it knows its output.
    place, dataflow, beam_args = (found[name] for name in ("preprocess_on", "dataflow", "beam_args"))
    beam_arguments(place, dataflow, beam_args, output="gs://pipeline/root", split="train")
    return filled


def _parse(parameter: Parameter, text: str) -> Any:
    reader, wanted = _READERS[parameter.type]
    try:
        return reader(text)
    except ValueError as error:
        raise InputError(f"--param {parameter.name}={text}: not {wanted}") from error


def _boolean(text: str) -> bool:
    known = {"true": True, "false": False}
    if text.lower() not in known:
        raise ValueError(text)
    return known[text.lower()]


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _json(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = json.loads(text)
        if not isinstance(value, kind):
            raise ValueError(text)
        return value

    return read


_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "STRING": (str, "a text"),
    "NUMBER_INTEGER": (int, "a whole number"),
    "NUMBER_DOUBLE": (_finite, "a finite number"),
    "BOOLEAN": (_boolean, "a boolean; write true or false"),
    "LIST": (_json(list), "a JSON list"),
    "STRUCT": (_json(dict), "a JSON object"),
}
