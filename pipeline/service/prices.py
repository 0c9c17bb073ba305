"""The cost ceiling of a plan, from a price list that the user looked up. No price is built in.

    date: "2026-11-26"                # when the prices were looked up
    source: our contract, annex 2     # where
    currency: EUR
    region: europe-west4
    per_machine_hour:                 # one row per kind of machine, named as the dry run prints it
      4 vCPU, 16 GB: 0.20
      a2-highgpu-8g + 8 x NVIDIA_TESLA_A100: 30.00

An accelerator's price belongs to its machine's row. Spot machines and Dataflow's workers have rows of their own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from beam_preprocess.base import json, yaml
from beam_preprocess.base.errors import InputError
from pipeline.service.cost import Step, machine_hours

PRICES_FIX = "docs/vertex.md, section 6, shows such a file"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """A price list."""

    date: str
    """When the prices were looked up: YYYY-MM-DD."""
    source: str
    """Where; printed with every ceiling."""
    currency: str
    region: str
    per_machine_hour: Mapping[str, float]

    def __post_init__(self) -> None:
        try:
            date.fromisoformat(self.date)
        except ValueError as error:
            raise InputError(f"date: {self.date!r}; give the day of the prices, as YYYY-MM-DD") from error
        for name in ("source", "currency", "region"):
            if not getattr(self, name).strip():
                raise InputError(f"{name}: empty; say where the prices come from and what they are")
        for kind, price in self.per_machine_hour.items():
            if not math.isfinite(price) or price < 0:
                raise InputError(f"per_machine_hour: {kind}: {price!r}; give a number of 0 or more")

    def ceiling(self, planned: list[Step]) -> float:
        """Cost if every attempt of every step reaches its time limit.

        Raises:
          InputError: machines without a price; names all of them.
        """
        hours = machine_hours(planned)
        missing = [kind for kind in hours if kind not in self.per_machine_hour]
        if missing:
            raise InputError(f"--prices: per_machine_hour has no {'; no '.join(missing)}; add what they cost per hour")
        return sum(self.per_machine_hour[kind] * number for kind, number in hours.items())

    def sentence(self, planned: list[Step]) -> str:
        """The ceiling with its origin, in one line."""
        return (
            f"cost ceiling {self.ceiling(planned):,.2f} {self.currency}: these machine-hours at {self.region} prices "
            f"of {self.date} ({self.source}), without storage, disks, network and the service's fee per run"
        )


def read_prices(path: str) -> Prices:
    """Reads a price list.

    Raises:
      InputError: no such file, unknown or missing keys, or a wrong value.
    """
    where = f"--prices {path}"
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: cannot be read ({' '.join(str(error).split())}); {PRICES_FIX}") from error
    values = yaml.load(text, where)
    try:
        return json.build(Prices, values, where, PRICES_FIX)
    except InputError as error:
        raise error if str(error).startswith(where) else InputError(f"{where}: {error}") from error
