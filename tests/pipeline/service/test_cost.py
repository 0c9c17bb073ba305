"""The cost ceiling: machines x price x time limit x attempts, and the file that the prices come from."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from beam_preprocess.base.errors import InputError
from components.support.dataflow import Dataflow
from pipeline.graph.targets import TARGETS, Resources
from pipeline.service import cost
from pipeline.service.cost import PRICES, VERTEX_HOURS, Machine, Step, ceiling, read_prices, steps
from tests.loopback.invocations import WHAT, WHERE, Run, spec_of
from tests.loopback.vertex_server import VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")

PRICE = yaml.safe_load(PRICES.read_text())
A100, A2 = PRICE["accelerators"]["NVIDIA_TESLA_A100"], PRICE["machines"]["a2-highgpu-8g"]
ACCELERATED = {"accelerator": "NVIDIA_TESLA_A100", "accelerators": 8}


@pytest.mark.parametrize(
    ("machine", "dollars"),
    [
        (Machine(type="n1-standard-4"), PRICE["machines"]["n1-standard-4"]),
        (Machine(type="n1-standard-4", count=3), 3 * PRICE["machines"]["n1-standard-4"]),
        (Machine(type="n1-standard-4", spot=True), PRICE["spot"] * PRICE["machines"]["n1-standard-4"]),
        (Machine(cpu=12, memory_gb=85), 12 * PRICE["vcpu"] + 85 * PRICE["memory_gb"]),
        (Machine(cpu=96, memory_gb=680, **ACCELERATED), 96 * PRICE["vcpu"] + 680 * PRICE["memory_gb"] + 8 * A100),
        (Machine(type="n1-standard-96", **ACCELERATED), PRICE["machines"]["n1-standard-96"] + 8 * A100),
        (Machine(type="a2-highgpu-8g", **ACCELERATED), A2),  # its price includes the GPUs
        (Machine(type="cloud-tpu", accelerator="TPU_V3", accelerators=8), 8 * PRICE["accelerators"]["TPU_V3"]),
        (Machine(type="ct5lp-hightpu-8t", topology="2x4"), PRICE["machines"]["ct5lp-hightpu-8t"]),
        (
            Machine(type="n2-standard-8", count=50, dataflow=True),
            50 * (8 * PRICE["dataflow_vcpu"] + 32 * PRICE["dataflow_memory_gb"]),
        ),
        (
            Machine(type="n1-highmem-4", dataflow=True),
            4 * PRICE["dataflow_vcpu"] + 26 * PRICE["dataflow_memory_gb"],
        ),
    ],
    ids=str,
)
def test_an_hour(machine: Machine, dollars: float) -> None:
    assert read_prices().hourly(machine) == pytest.approx(dollars)


@pytest.mark.parametrize(
    ("machine", "says"),
    [
        (Machine(type="z9-mega-1"), "machines has no z9-mega-1"),
        (Machine(type="n1-standard-4", accelerator="ABACUS", accelerators=1), "accelerators has no ABACUS"),
        (Machine(type="z9-mega-1", dataflow=True), "dataflow.machine_type: z9-mega-1"),
    ],
)
def test_a_missing_price(machine: Machine, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_prices().hourly(machine)


def planned(target: str, dataflow: Dataflow | None = None, **changes: Any) -> dict[str, Step]:
    return {step.name: step for step in steps(spec_of(target, **changes), "e2-standard-4", dataflow)}


def test_all_worker_pools_and_attempts_count() -> None:
    train = planned("vertex-multinode-gpu", replicas=4, reduction_servers=3, retries=2, timeout_hours=10.0)["train"]
    assert [(machine.count, machine.type) for machine in train.machines] == [
        (1, "a2-highgpu-8g"),
        (3, "a2-highgpu-8g"),
        (3, "n1-highcpu-16"),
    ]
    assert (train.hours, train.attempts) == (10.0, 3)
    dollars = (4 * A2 + 3 * PRICE["machines"]["n1-highcpu-16"]) * 10 * 3
    assert ceiling([train], read_prices()) == pytest.approx(dollars)
    more = {"replicas": 4, "reduction_servers": 3, "timeout_hours": 10.0}
    spot = planned("vertex-multinode-gpu", **more, capacity="spot")["train"]
    assert ceiling([spot], read_prices()) == pytest.approx(dollars * PRICE["spot"])


def test_a_stage_counts_until_its_time_limit() -> None:
    resources = {**TARGETS["vertex-gpu"].resources, "train": Resources(cpu="8", memory="32G", timeout_hours=2.5)}
    found = planned("vertex-gpu", resources=resources)
    assert found["train"].hours == 2.5
    assert found["train"].machines == (Machine(cpu=8, memory_gb=32),)
    assert found["preprocess train"].hours == TARGETS["vertex-gpu"].resources["preprocess"].timeout_hours
    mail = planned("vertex-gpu", notify=("owner@example.org",))["mail the outcome"]
    assert mail.hours == VERTEX_HOURS, "a step without a limit ends when the service ends it"
    assert mail.machines == (Machine(type="e2-standard-4"),), "a step that requests nothing gets the service's default"
    assert found["gate"].machines == (Machine(cpu=4, memory_gb=16),)
    assert {"promote", "hold", "evaluate champion", "nothing new"} <= set(found), "both branches of a condition"


def test_dataflow_workers_count_and_so_does_the_step_that_waits_for_them() -> None:
    place = {"project": "my-project", "region": "us-central1", "sdk_container_image": "r/i"}
    dataflow = Dataflow(**place, machine_type="n2-standard-16", max_workers=20)
    found = planned("vertex-gpu", dataflow)
    step, workers = found["preprocess train"].machines
    assert (step.dataflow, step.cpu) == (False, 16.0)
    assert workers == Machine(count=20, type="n2-standard-16", dataflow=True)
    assert not any(machine.dataflow for machine in found["train"].machines)


def test_steps_come_in_an_order_in_which_they_can_run() -> None:
    names = list(planned("vertex-gpu", notify=("owner@example.org",)))
    assert names[:2] == ["check the data", "check for changes"]
    assert names[-1] == "mail the outcome"
    order = ["preprocess train", "train", "export", "evaluate candidate", "find champion", "gate", "promote", "report"]
    assert sorted(order, key=names.index) == order


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "local"])
def test_the_file_knows_every_targets_machines(target: str) -> None:
    assert ceiling(list(planned(target).values()), read_prices()) > 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"volts": 230}, "unknown keys: volts"),
        ({"spot": None}, "spot: None"),
        ({"spot": True}, "spot: True"),
        ({"vcpu": "0.04"}, "vcpu: '0.04'"),
        ({"vcpu": float("nan")}, "vcpu: nan"),
        ({"memory_gb": -1}, "memory_gb: -1"),
        ({"machines": [0.1]}, "machines: [0.1]; give a table"),
        ({"machines": {"e2-standard-4": "cheap"}}, "machines.e2-standard-4: 'cheap'"),
        ({"machines": {}}, "default_machine: e2-standard-4 is not in machines"),
        ({"source": ""}, "source: ''"),
        ({"currency": 1}, "currency: 1"),
    ],
)
def test_a_wrong_price_list(change: dict[str, Any], says: str, tmp_path: Path, vertex: VertexServer, run: Run) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(yaml.safe_dump({**PRICE, **change}))
    code, _, err = run("submit", *WHERE, *WHAT, "--prices", path, "--dry-run")
    assert code == 2
    assert err.startswith(f"error: --prices {path}: ")
    assert says in err
    assert vertex.requests == []


@pytest.mark.parametrize("text", ["- 1", "{", "spot: 0.4", "\x00"])
def test_no_price_list_at_all(text: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match="--prices"):
        read_prices(path)


def test_an_own_price_list(tmp_path: Path, vertex: VertexServer, run: Run) -> None:
    own = {**PRICE, "date": "2027-01-31", "source": "our contract", "currency": "EUR", "region": "europe-west4"}
    own["machines"] = dict.fromkeys(PRICE["machines"], 1.0)
    path = tmp_path / "prices.yaml"
    path.write_text(yaml.safe_dump(own))
    dry_run = ["submit", *WHERE, *WHAT, "--target", "vertex-multinode-gpu", "--dry-run"]
    code, out, _ = run(*dry_run, "--prices", path)
    assert code == 0
    # Two machines x 48 h x three attempts at 1 EUR.
    (line,) = [line for line in out.splitlines() if line.startswith("train ")]
    assert line.split()[-1] == "288.00"
    assert "EUR" in out
    assert "europe-west4 prices of 2027-01-31 (our contract; replace them with --prices)" in out
    assert "from memory, not looked up" in run(*dry_run)[1], "unverified prices are labelled"
    del own["machines"]["a2-highgpu-8g"]
    path.write_text(yaml.safe_dump(own))
    code, _, err = run("submit", *WHERE, *WHAT, "--target", "vertex-multinode-gpu", "--prices", path)
    assert code == 2
    assert "machines has no a2-highgpu-8g" in err
    assert vertex.requests == []


def test_the_sum_is_the_steps(run: Run, vertex: VertexServer) -> None:
    _, out, _ = run("submit", *WHERE, *WHAT, "--dry-run")
    found = planned("vertex-gpu")
    wanted = ceiling(list(found.values()), read_prices())
    assert f"cost ceiling {wanted:,.2f} USD" in out
    assert wanted == pytest.approx(sum(ceiling([step], read_prices()) for step in found.values()))
    assert cost.ceiling([], read_prices()) == 0
