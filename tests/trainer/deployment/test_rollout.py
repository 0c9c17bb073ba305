"""Rollouts with Google's client, against a Vertex AI on loopback that keeps state and routes requests by percentage."""

import json
import threading
import time
from typing import Any

import pytest

from tests.loopback.deployments import Deploy, Served
from tests.loopback.server import Fault
from trainer.deployment import smoke_test
from trainer.deployment.endpoint import Endpoint, EndpointMoved
from trainer.shared.google_cloud import Place

PLACE = Place(project="my-project", region="us-central1")


def bodies(served: Served, verb: str) -> list[Any]:
    return [request.body for request in served.server.sent("POST", verb)]


def test_the_first_version_gets_all_requests(served: Served, deploy: Deploy) -> None:
    code, out, err = deploy("--traffic", "10")
    assert (code, err) == (0, "")
    assert "result: deployed: centernet version 2 100 %" in out
    assert served.split == {"2": 100}
    assert served.labels == {"centernet-model": "centernet", "stable": "2"}, "the lock is gone"
    main, test = bodies(served, ":deployModel")
    assert "trafficSplit" not in main, "without traffic"
    assert test["trafficSplit"] == {"0": 100}, "on the endpoint of the smoke test"
    assert main["deployedModel"]["model"].endswith("/models/centernet@2"), "the champion, as the registry has it"
    assert main["deployedModel"]["dedicatedResources"] == {
        "machineSpec": {"machineType": "n1-standard-4"},
        "minReplicaCount": 1,
        "maxReplicaCount": 1,
    }
    assert list(served.server.endpoints) == ["centernet"], "the endpoint of the smoke test is gone"
    tested = [endpoint for endpoint, _ in served.server.served]
    assert tested == ["centernet-smoke"] * 4 + ["centernet"] * 3, "before it had traffic, and after"


def test_canary_promotion_and_rollback(served: Served, deploy: Deploy) -> None:
    assert deploy("--version", "1")[0] == 0
    assert deploy("--traffic", "10")[0] == 0
    assert served.split == {"1": 90, "2": 10}
    assert served.labels["stable"] == "1"
    code, out, _ = deploy("--traffic", "10")
    assert (code, out.splitlines()[-1]) == (
        0,
        "result: unchanged: centernet version 1 90 %, centernet version 2 10 %",
    )
    assert len(bodies(served, ":deployModel")) == 4, "two versions, each with its test"
    assert deploy("--traffic", "100")[0] == 0
    assert served.split == {"2": 100}
    assert served.labels | {"stable": "2", "previous": "1"} == served.labels
    assert len(bodies(served, ":deployModel")) == 4, "the canary is the one that gets all"
    code, out, _ = deploy("--rollback")
    assert "rolled back: centernet version 1 100 %; centernet version 2 stays deployed without traffic" in out
    assert (served.split, served.versions) == ({"1": 100}, ["1", "2"])
    assert deploy("--rollback")[0] == 0
    assert served.split == {"2": 100}, "back again"
    assert deploy("--version", "3", "--traffic", "50")[0] == 0
    assert served.split == {"2": 50, "3": 50}
    assert deploy("--rollback")[0] == 0
    assert (served.split, served.versions) == ({"2": 100}, ["1", "2"]), "the canary is undeployed"
    code, out, _ = deploy("--remove-idle")
    assert "undeployed: centernet version 1" in out
    assert served.versions == ["2"]
    code, _, err = deploy("--rollback")
    assert code == 1
    assert "nothing to roll back to (centernet version 2 100 %)" in err


def test_the_third_version_removes_the_first(served: Served, deploy: Deploy) -> None:
    for version in "123":
        assert deploy("--version", version, "--traffic", "100")[0] == 0
    assert (served.split, served.versions) == ({"3": 100}, ["2", "3"])


def test_what_others_deployed_stays(served: Served, deploy: Deploy) -> None:
    for version in "12":
        assert deploy("--version", version, "--traffic", "100")[0] == 0
    served.server.endpoints["centernet"]["deployedModels"][0]["displayName"] = "an experiment"
    served.server.endpoints["centernet"]["labels"].pop("previous")
    assert deploy("--version", "3", "--traffic", "100")[0] == 0
    assert served.versions == ["1", "2", "3"]


def test_without_traffic(served: Served, deploy: Deploy) -> None:
    assert deploy("--version", "1")[0] == 0
    code, out, _ = deploy("--traffic", "0")
    assert (code, served.split, served.versions) == (0, {"1": 100}, ["1", "2"])
    assert "deployed without traffic: centernet version 2 passed the smoke test" in out


def test_wrong_boxes_get_no_traffic(served: Served, deploy: Deploy) -> None:
    assert deploy("--version", "1")[0] == 0
    served.server.served.clear()
    served.shifts["2", ""] = 9.0
    code, _, err = deploy("--traffic", "10")
    assert code == 1
    assert "smoke test failed: 12 of 12 detections have no counterpart" in err
    assert "it got no traffic and was undeployed" in err
    assert (served.split, served.versions, list(served.server.endpoints)) == ({"1": 100}, ["1"], ["centernet"])
    assert {endpoint for endpoint, _ in served.server.served} == {"centernet-smoke"}
    assert "deploying" not in served.labels
    served.shifts.clear()
    assert deploy("--traffic", "10")[0] == 0, "the same version, once its server is right"


@pytest.mark.parametrize("traffic", ["10", "100"])
@pytest.mark.parametrize("canary", [False, True], ids=["new", "canary"])
def test_wrong_boxes_with_traffic_lose_it(served: Served, deploy: Deploy, traffic: str, canary: bool) -> None:
    """Also a canary that was right when it began."""
    assert deploy("--version", "1")[0] == 0
    if canary:
        assert deploy("--traffic", "5")[0] == 0
    served.shifts["2", "centernet"] = 9.0
    code, _, err = deploy("--traffic", traffic)
    assert code == 1
    assert "failed with traffic: " in err
    assert "; it lost its traffic" in err
    assert (served.split, served.versions, served.labels["stable"]) == ({"1": 100}, ["1"], "1")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"outputs": []}, "the answer is not one of a CenterNet export"),
        ({"detection_boxes": [[0, 0]], "detection_scores": [1], "detection_classes": [1]}, "not one of a CenterNet"),
    ],
)
def test_a_server_of_something_else(served: Served, deploy: Deploy, answer: dict[str, Any], message: str) -> None:
    served.server.serve = lambda _deployed, _image: answer
    code, _, err = deploy()
    assert code == 1
    assert message in err
    assert served.versions == []


def test_a_slow_server(served: Served, deploy: Deploy) -> None:
    def slow(deployed: dict[str, Any], image: bytes) -> dict[str, Any]:
        time.sleep(0.02)
        return served.answer(deployed, image)

    served.server.serve = slow
    code, _, err = deploy("--max-latency-ms", "10")
    assert code == 1
    assert "more than max_latency_ms 10" in err
    assert deploy("--max-latency-ms", "0")[0] == 0


@pytest.mark.parametrize("traffic", ["10", "100"])
def test_a_split_that_takes_effect_late(served: Served, deploy: Deploy, traffic: str) -> None:
    assert deploy("--version", "1")[0] == 0
    served.server.late_split = 12
    assert deploy("--traffic", traffic)[0] == 0
    assert served.split["2"] == int(traffic)


def test_a_split_that_never_takes_effect(served: Served, deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert deploy("--version", "1")[0] == 0
    monkeypatch.setattr(smoke_test, "SPLIT_SECONDS", 0.0)
    served.server.late_split = 1000
    code, _, err = deploy("--traffic", "50")
    assert code == 1
    assert "was answered by it, although it has 50 % of them; it lost its traffic" in err
    assert served.split == {"1": 100}


def test_a_server_that_is_ill_for_a_while(served: Served, deploy: Deploy) -> None:
    served.server.next_fault("POST", ":predict", Fault(status=503), times=3)
    assert deploy()[0] == 0


CALLS = (
    ("POST", "endpoints"),
    ("PATCH", "endpoints/centernet"),
    ("POST", "centernet:deployModel"),
    ("POST", "centernet-smoke:deployModel"),
    ("POST", "centernet-smoke:undeployModel"),
    ("DELETE", "endpoints/centernet-smoke"),
)


@pytest.mark.parametrize("slow", [False, True], ids=["", "slow"])
@pytest.mark.parametrize("cut", ["request", "before", "after", "answer", "busy"])
def test_a_lost_answer_never_deploys_twice(served: Served, deploy: Deploy, cut: str, slow: bool) -> None:
    """Each kind of call loses its answer once. `slow`: the lost operations are still running when we look."""
    served.server.operation_requests = 8 if slow else 1
    for method, path in CALLS:
        served.server.next_fault(method, path, Fault(status=503) if cut == "busy" else Fault(cut=cut))
    code, out, err = deploy()
    assert (code, err) == (0, ""), out
    assert (served.split, served.versions, list(served.server.endpoints)) == ({"2": 100}, ["2"], ["centernet"])
    assert [endpoint for endpoint, _ in served.server.deployments] == ["centernet", "centernet-smoke"]
    if slow and cut in ("after", "answer"):
        assert out.count("waiting for the earlier call") >= 2


@pytest.mark.parametrize("requests", [1, 6])
def test_operations_that_cannot_be_followed(served: Served, deploy: Deploy, requests: int) -> None:
    served.server.operations_address, served.server.operation_requests = "/v1/", requests
    assert deploy()[0] == 0
    assert (served.split, served.versions, list(served.server.endpoints)) == ({"2": 100}, ["2"], ["centernet"])


def test_no_machines(served: Served, deploy: Deploy) -> None:
    assert deploy("--version", "1")[0] == 0
    served.server.full = 2
    assert deploy("--traffic", "10")[0] == 0, "they came free"
    served.server.full = 99
    code, _, err = deploy("--version", "3", "--traffic", "100")
    assert code == 1
    assert "quota exceeded" in err
    assert (served.split, served.versions) == ({"1": 90, "2": 10}, ["1", "2"])
    served.server.full = 0
    assert deploy("--version", "3", "--traffic", "100")[0] == 0
    assert (served.split, served.versions) == ({"3": 100}, ["1", "3"]), "the canary was neither in use nor before it"


def test_a_rerun_resumes_after_the_deployment(served: Served, deploy: Deploy) -> None:
    """The smoke test's endpoint finds no machine: the deployment without traffic is there already."""
    served.server.next_fault("POST", "centernet-smoke:deployModel", Fault(status=403))
    code, out, _ = deploy()
    assert code == 1
    assert "stays deployed without traffic, and costs" in out
    assert served.versions == ["2"]
    assert deploy()[0] == 0
    assert len(bodies(served, "/centernet:deployModel")) == 1


def test_an_endpoint_of_the_test_that_cannot_be_removed(served: Served, deploy: Deploy) -> None:
    served.server.next_fault("DELETE", "endpoints/centernet-smoke", Fault(status=403))
    code, out, _ = deploy()
    assert code == 0
    assert "remove the endpoint centernet-smoke, or it costs" in out
    assert deploy("--version", "3", "--traffic", "100")[0] == 0, "the next test takes it"
    assert list(served.server.endpoints) == ["centernet"]


def test_one_rollout_at_a_time(served: Served, deploy: Deploy) -> None:
    assert deploy("--version", "1")[0] == 0
    served.server.endpoints["centernet"]["labels"]["deploying"] = "20261126-0300-utc-somebody"
    before = json.dumps(served.server.endpoints)
    for flags in (["--traffic", "10"], ["--rollback"], ["--remove-idle"]):
        code, _, err = deploy(*flags)
        assert code == 1
        assert "another rollout (20261126-0300-utc-somebody) is under way" in err
    assert json.dumps(served.server.endpoints) == before
    assert deploy("--traffic", "10", "--take-over")[0] == 0
    assert served.split == {"1": 90, "2": 10}


def test_two_rollouts_at_the_same_moment(served: Served, deploy: Deploy) -> None:
    """Whatever the order: one deployment per version, a split that adds up, and no lock left."""
    assert deploy("--version", "1")[0] == 0
    from beam_preprocess.base.errors import Failure
    from tests.loopback.deployments import URI
    from trainer.config.deploy_config import DeployConfig
    from trainer.deployment import rollout
    from trainer.deployment.lock import Who
    from trainer.deployment.plan import Plan
    from trainer.deployment.source import find_source

    plan = Plan.of(DeployConfig()).for_model("centernet")
    ended: list[str] = []

    def roll(version: str) -> None:
        try:
            rollout.deploy(find_source(URI, version), plan, PLACE, Who(owner=f"thread-{version}"), model="centernet")
            ended.append("done")
        except Failure as error:
            ended.append(type(error).__name__)

    threads = [threading.Thread(target=roll, args=(version,)) for version in "23"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["RolloutRefused", "done"]
    assert set(served.split.values()) == {90, 10}
    assert len(served.versions) == 2
    assert "deploying" not in served.labels


def test_a_change_from_an_old_view_is_refused(served: Served, deploy: Deploy) -> None:
    assert deploy()[0] == 0
    endpoint = Endpoint(PLACE, "centernet")
    seen = endpoint.existing()
    endpoint.change(seen, labels={**seen.labels, "team": "a"})
    with pytest.raises(EndpointMoved, match="somebody else changed it meanwhile"):
        endpoint.change(seen, labels={**seen.labels, "team": "b"})
    assert served.labels["team"] == "a"


def test_a_second_canary_is_refused(served: Served, deploy: Deploy) -> None:
    assert deploy("--version", "1")[0] == 0
    assert deploy("--version", "2", "--traffic", "10")[0] == 0
    refusals = (
        ("3", "20", "another canary has traffic (centernet version 2)"),
        ("1", "20", "is the one in use"),
        ("2", "0", "centernet version 2 has 10 %: --rollback takes it away"),
    )
    for version, traffic, message in refusals:
        code, _, err = deploy("--version", version, "--traffic", traffic)
        assert code == 1
        assert message in err
    assert served.split == {"1": 90, "2": 10}
    assert deploy("--version", "2", "--traffic", "40")[0] == 0
    assert served.split == {"1": 60, "2": 40}
