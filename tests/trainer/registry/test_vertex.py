"""The registry in Vertex AI Model Registry, through Google's own client, against a service on loopback."""

import threading
from typing import Any

import fsspec
import pytest

from beam_preprocess.base.errors import InputError
from tests.gcs_emulator import GcsEmulator
from tests.loopback.server import Fault
from tests.loopback.vertex_server import PARENT, VertexServer
from trainer.registry.base import ChampionMoved, Registry, RegistryError
from trainer.registry.prune import plan
from trainer.registry.uri import open_registry
from trainer.registry.vertex import SERVING_IMAGE

pytestmark = pytest.mark.usefixtures("no_long_waits", "gcs")

URI = "vertex://my-project/us-central1/centernet"
FACTS = {"ap": 0.54681, "data_digest": "ab" * 32, "model_digest": "cd" * 32, "run_id": "Run 1"}


@pytest.fixture
def model(gcs: GcsEmulator) -> str:
    bucket = fsspec.filesystem("gs")
    bucket.pipe_file("my-bucket/runs/1/saved_model/saved_model.pb", b"model")
    return "gs://my-bucket/runs/1/saved_model"


@pytest.fixture
def registry(vertex: VertexServer, model: str) -> Registry:
    return open_registry(URI)


def test_what_arrives(vertex: VertexServer, registry: Registry, model: str) -> None:
    assert registry.list() == ()
    assert registry.champion() is None
    assert registry.publish(model, FACTS, key="run-1") == "1"
    assert registry.publish(model, {**FACTS, "ap": 0.6}, key="run-2") == "2"
    first, second = (request.body for request in vertex.sent("POST", "models:upload"))
    assert first["modelId"] == "centernet"
    assert "parentModel" not in first
    assert second["parentModel"] == f"{PARENT}/models/centernet"
    sent = first["model"]
    assert sent["artifactUri"] == model
    assert sent["containerSpec"] == {"imageUri": SERVING_IMAGE}
    assert "versionAliases" not in sent, "publishing moves no alias"
    labels = sent["labels"]
    assert labels["ap"] == "0_5468"
    assert labels["data_digest"] == ("ab" * 32)[:63]
    assert labels["model_digest"] == ("cd" * 32)[:63]
    assert labels["run_id"] == "run_1"
    found = registry.version("1")
    assert (found.path, found.key, found.metadata) == (model, "run-1", FACTS), "labels are cut, the facts are not"
    assert [version.version for version in registry.list()] == ["1", "2"]


def test_promotion_and_rollback(registry: Registry, model: str) -> None:
    one, two = (registry.publish(model, FACTS, key=key) for key in ("a", "b"))
    registry.swap_alias("champion", one, expected=None)
    registry.swap_alias("best", one, expected=None)
    registry.swap_alias("challenger", two, expected=None)
    registry.swap_alias("champion", two, expected=one)
    assert registry.aliases() == {"champion": two, "previous": one, "best": one}
    champion = registry.champion()
    assert champion is not None
    assert champion.version == two
    with pytest.raises(ChampionMoved, match="champion is 2, not 1"):
        registry.swap_alias("champion", one, expected=one)
    assert registry.rollback() == (one, two)
    assert registry.aliases() == {"champion": one, "previous": two, "best": one}


def test_one_version_per_key(vertex: VertexServer, registry: Registry, model: str) -> None:
    vertex.next_fault("POST", "models:upload", Fault(cut="after"))
    assert registry.publish(model, FACTS, key="run-1") == "1"
    assert registry.publish(model, FACTS, key="run-1") == "1"
    assert len(vertex.models["centernet"]) == 1


def test_an_upload_is_awaited(vertex: VertexServer, registry: Registry, model: str) -> None:
    """The service answers with an operation that finishes later."""
    registry.publish(model, FACTS, key="run-1")
    (asked,) = vertex.sent("GET", "/operations/")
    assert asked.path.removeprefix("/ui/") in vertex.operations


def test_an_upload_that_does_not_end(
    vertex: VertexServer, registry: Registry, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not started a second time, and the error says what happened."""
    monkeypatch.setattr("trainer.registry.vertex.UPLOAD_SECONDS", 0.05)
    vertex.operation_requests = 10**6
    with pytest.raises(RegistryError, match="has not ended after"):
        registry.publish(model, FACTS, key="run-1")
    assert len(vertex.sent("POST", "models:upload")) == 1


@pytest.mark.parametrize("requests", [1, 5])
def test_an_operation_that_cannot_be_followed(
    requests: int, vertex: VertexServer, registry: Registry, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The address of operations answers 404: the version is looked for by its key, and nothing is uploaded twice."""
    vertex.operations_address, vertex.operation_requests = "/v1/", requests
    assert registry.publish(model, FACTS, key="run-1") == "1"
    assert "the operation can't be followed" in capsys.readouterr().out
    assert registry.publish(model, FACTS, key="run-2") == "2"
    registry.swap_alias("champion", "2", expected=None)
    registry.publish(model, FACTS, key="run-3")
    registry.remove("1")
    assert [version.version for version in registry.list()] == ["2", "3"]
    assert len(vertex.sent("POST", "models:upload")) == 3


def test_an_upload_that_fails(vertex: VertexServer, registry: Registry, model: str) -> None:
    """An operation that ends in an error is believed at once."""
    error = {"code": 9, "message": "the artifact is gone"}
    ended = {"name": f"{PARENT}/operations/1", "done": True, "error": error}
    vertex._operations_get = lambda _name, _request: ended  # type: ignore[method-assign]
    vertex.operation_requests = 10**6
    with pytest.raises((RegistryError, InputError), match="the artifact is gone"):
        registry.publish(model, FACTS, key="run-1")
    assert len(vertex.sent("POST", "models:upload")) == 1


def test_operations_that_take_a_while(vertex: VertexServer, registry: Registry, model: str) -> None:
    vertex.operation_requests = 4
    assert [registry.publish(model, FACTS, key=key) for key in "ab"] == ["1", "2"]
    assert len(vertex.sent("GET", "/operations/")) > 2


def test_another_promotion_in_the_gap(vertex: VertexServer, registry: Registry, model: str) -> None:
    """Between reading and merging the service offers no condition: the loser of the race gets an error."""
    one, two = (registry.publish(model, FACTS, key=key) for key in ("a", "b"))
    answer = vertex._models_mergeVersionAliases

    def and_then_another(name: str, request: Any) -> Any:
        done = answer(name, request)
        vertex._merge("centernet", vertex.models["centernet"][1], ["champion"])
        return done

    vertex._models_mergeVersionAliases = and_then_another  # type: ignore[method-assign]
    with pytest.raises(ChampionMoved, match=f"champion is {two}"):
        registry.swap_alias("champion", one, expected=None)
    assert registry.alias("champion") == two, "one champion"


def test_many_promotions_at_once(vertex: VertexServer, registry: Registry, model: str) -> None:
    versions = [registry.publish(model, FACTS, key=str(number)) for number in range(4)]
    outcomes: dict[str, str] = {}

    def promote(version: str) -> None:
        try:
            open_registry(URI).swap_alias("champion", version, expected=None)
            outcomes[version] = "won"
        except ChampionMoved:
            outcomes[version] = "moved"

    threads = [threading.Thread(target=promote, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    champions = [entry for entry in vertex.models["centernet"] if "champion" in entry["versionAliases"]]
    assert len(champions) == 1
    assert outcomes[champions[0]["versionId"]] == "won"
    assert len(outcomes) == 4
    assert len(registry.list()) == 4, "none is lost"


def test_versions_of_others(vertex: VertexServer, registry: Registry, model: str) -> None:
    registry.publish(model, FACTS, key="a")
    vertex.models["centernet"].append(
        {**vertex.models["centernet"][0], "versionId": "2", "versionDescription": "by hand", "versionAliases": []}
    )
    assert [version.version for version in registry.list()] == ["1"]
    assert "not published by this registry" in registry.incomplete()["2"]
    with pytest.raises(RegistryError, match="2 was not published"):
        registry.swap_alias("champion", "2", expected=None)
    with pytest.raises(RegistryError, match="no version '9'; versions are 1, 2"):
        registry.version("9")


@pytest.mark.parametrize(("folder", "says"), [("saved_model", "gs://"), ("gs://my-bucket/nothing", "saved_model.pb")])
def test_models_that_cannot_be_published(folder: str, says: str, vertex: VertexServer, registry: Registry) -> None:
    with pytest.raises(InputError, match=says):
        registry.publish(folder, FACTS, key="a")
    with pytest.raises(InputError, match="key"):
        registry.publish(folder, FACTS, key="")
    assert vertex.models == {}


@pytest.mark.parametrize("uri", ["vertex://p/r", "vertex://my-project/us-central1/Big", "vertex://my-project/mars/x"])
def test_bad_uri(uri: str) -> None:
    with pytest.raises(InputError):
        open_registry(uri)


def test_denied(vertex: VertexServer, registry: Registry) -> None:
    vertex.next_fault("GET", "listVersions", Fault(status=403))
    with pytest.raises(RegistryError, match=r"aiplatform\.models\.list"):
        registry.list()


def test_prune(vertex: VertexServer, registry: Registry, model: str) -> None:
    """The first version is the service's default, which it deletes only after another one is."""
    for key in "abcd":
        registry.publish(model, FACTS, key=key)
    registry.swap_alias("champion", "3", expected=None)
    entries = plan(registry, keep=1)
    assert [(entry.version, entry.kept, entry.size) for entry in entries] == [
        ("1", "", None),
        ("2", "", None),
        ("3", "champion", None),
        ("4", "newest", None),
    ]
    for entry in entries[:2]:
        registry.remove(entry.version)
    assert [version.version for version in registry.list()] == ["3", "4"]
    assert registry.aliases() == {"champion": "3"}
    with pytest.raises(RegistryError, match="3 is champion"):
        registry.remove("3")
    assert registry.publish(model, FACTS, key="e") == "5"
