"""The cost ceiling, from a price list that names its date and its source."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from beam_preprocess.base.errors import InputError
from pipeline.service.cost import machine_hours, steps
from pipeline.service.prices import read_prices
from tests.loopback.invocations import WHAT, WHERE, Run, spec_of
from tests.loopback.vertex_server import VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")

SUBMIT = ["submit", *WHERE, *WHAT, "--dry-run"]
KINDS = ("4 vCPU, 16 GB", "16 vCPU, 64 GB")
PRICES: dict[str, Any] = {
    "date": "2027-01-31",
    "source": "our contract",
    "currency": "EUR",
    "region": "europe-west4",
    "per_machine_hour": dict.fromkeys(KINDS, 2.0),
}


def written(path: Path, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump({**PRICES, **changes}))
    return path


def test_the_ceiling_names_its_origin(tmp_path: Path, run: Run) -> None:
    hours = machine_hours(steps(spec_of("vertex-gpu")))
    path = written(tmp_path / "prices.yaml", per_machine_hour=dict.fromkeys(hours, 2))
    code, out, _ = run(*SUBMIT, "--prices", path)
    assert code == 0
    assert f"cost ceiling {2 * sum(hours.values()):,.2f} EUR" in out
    assert "at europe-west4 prices of 2027-01-31 (our contract)" in out
    assert "note: these are prices of europe-west4; prices in us-central1 differ" in out


def test_machines_without_a_price_are_all_named(tmp_path: Path, vertex: VertexServer, run: Run) -> None:
    path = written(tmp_path / "prices.yaml")
    code, _, err = run(*SUBMIT[:-1], "--prices", path)
    assert code == 2
    for kind in machine_hours(steps(spec_of("vertex-gpu"))):
        assert (f"no {kind}" in err) == (kind not in KINDS)
    assert vertex.requests == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"volts": 230}, "unknown key 'volts'"),
        ({"dates": "2027-01-31"}, "did you mean 'date'?"),
        ({"date": "last summer"}, "date: 'last summer'; give the day"),
        ({"source": " "}, "source: empty"),
        ({"currency": 1}, "currency: is 1"),
        ({"per_machine_hour": [0.1]}, "per_machine_hour: is [0.1]"),
        ({"per_machine_hour": {"e2-standard-4": "cheap"}}, "per_machine_hour.e2-standard-4: is 'cheap'"),
        ({"per_machine_hour": {"e2-standard-4": -1}}, "e2-standard-4: -1.0; give a number of 0 or more"),
        ({"per_machine_hour": {"e2-standard-4": float("nan")}}, "e2-standard-4: nan"),
    ],
)
def test_a_wrong_price_list(change: dict[str, Any], says: str, tmp_path: Path, run: Run) -> None:
    path = written(tmp_path / "prices.yaml", **change)
    code, _, err = run(*SUBMIT, "--prices", path)
    assert code == 2
    assert err.startswith(f"error: --prices {path}: ")
    assert err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize("text", ["- 1", "{", "currency: EUR", "\x00", "date: 2027-01-31"])
def test_no_price_list_at_all(text: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match="--prices"):
        read_prices(str(path))
