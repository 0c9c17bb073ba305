"""Approval: a candidate that passed waits, one person makes it champion, once, and only over the champion it beat."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.trainer.promotion.test_publish import decision
from trainer.coco.bootstrap import Comparison
from trainer.config.gate_config import GateConfig
from trainer.promotion import publish
from trainer.promotion.approve import approve, pending
from trainer.promotion.decision import Decision
from trainer.promotion.publish import PromotionRefused, promote
from trainer.registry import prune
from trainer.registry.approval import PENDING, approval_of
from trainer.registry.base import ChampionMoved, Registry, RegistryError
from trainer.registry.local import LocalRegistry
from trainer.registry.uri import open_registry

Promote = Callable[..., str]
ASKS = GateConfig(approval="required")


@pytest.fixture(params=["local", "vertex"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "registry")
    for fixture in ("no_long_waits", "gcs", "vertex"):
        request.getfixturevalue(fixture)
    return "vertex://my-project/us-central1/centernet"


@pytest.fixture
def run(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Promote:
    """Promotes a model under a decision made by hand, as if its evidence had been found to agree."""
    monkeypatch.setattr(publish, "judge_again", lambda judged: judged)
    model = "gs://my-bucket/approval/model" if "://" in uri else str(tmp_path / "model")
    fsspec.core.url_to_fs(model)[0].makedirs(model, exist_ok=True)
    with fsspec.open(f"{model}/saved_model.pb", "wb") as file:
        file.write(b"graph")

    def start(judged: Decision, key: str) -> str:
        path = tmp_path / f"{key}.json"
        path.write_text(judged.to_json())
        return promote(decision=str(path), model=model, registry=uri, key=key, metadata={"run_id": key})

    return start


@pytest.fixture
def store(run: Promote, uri: str) -> Registry:
    """Its champion is the first version; the second waits."""
    run(decision(), "run-1")
    champion = open_registry(uri).alias("champion") or ""
    outcome = run(replace(decision(champion, ap=0.6), gate=ASKS), "run-2")
    assert outcome.startswith("pending approval: ")
    assert outcome.endswith(f"(champion is {champion})")
    return open_registry(uri)


def names(store: Registry) -> list[str]:
    return [one.version.version for one in pending(store)]


def two(store: Registry) -> tuple[str, str]:
    one, other = (version.version for version in store.list()[:2])
    return one, other


def test_it_waits_and_is_approved(store: Registry, run: Promote) -> None:
    champion, challenger = two(store)
    assert store.aliases() == {"champion": champion, "best": champion, "challenger": challenger}
    assert names(store) == [challenger]
    assert run(replace(decision(champion, ap=0.6), gate=ASKS), "run-2").startswith(PENDING), "the step ran again"
    assert approve(store, challenger, by="Ada", account="ada@desk") == (
        f"promoted: {challenger} (was {champion}), approved by Ada"
    )
    assert store.aliases() == {"champion": challenger, "previous": champion, "best": challenger}
    asked = approval_of(store.version(challenger))
    assert asked is not None
    assert (asked.by, asked.account, asked.champion, asked.ap) == ("Ada", "ada@desk", champion, 0.6)
    assert asked.at >= asked.since > ""
    assert names(store) == []
    with pytest.raises(PromotionRefused, match=r"was approved by Ada at .*, and champion is"):
        approve(store, challenger, by="Bob", account="")
    assert run(replace(decision(champion, ap=0.6), gate=ASKS), "run-2") == f"promoted: {challenger} (was {champion})"


def test_what_is_refused_changes_nothing(store: Registry, run: Promote, uri: str) -> None:
    champion, challenger = two(store)
    with pytest.raises(PromotionRefused, match="did not pass a gate that asks for approval"):
        approve(store, champion, by="Ada", account="")
    with pytest.raises(RegistryError, match="there is no version"):
        approve(store, "99", by="Ada", account="")
    # Another run promotes: what was approved before is no longer what would be replaced.
    run(decision(champion, ap=0.7), "run-3")
    before = store.aliases(), store.version(challenger)
    with pytest.raises(ChampionMoved, match=f"not {champion} as seen before"):
        approve(store, challenger, by="Ada", account="")
    assert (store.aliases(), store.version(challenger)) == before
    assert names(store) == []
    with pytest.raises(ChampionMoved):
        run(replace(decision(champion, ap=0.6), gate=ASKS), "run-4")
    assert names(store) == [], "a run that was judged against an old champion doesn't wait"
    if isinstance(store, LocalRegistry):
        champion = store.alias("champion") or ""
        run(replace(decision(champion, ap=0.9), gate=ASKS), "run-5")
        (waiting,) = names(store)
        (store.root / "versions" / waiting / "saved_model.pb").write_bytes(b"another graph")
        with pytest.raises(PromotionRefused, match="is not the model that was judged"):
            approve(store, waiting, by="Ada", account="")
        assert store.alias("champion") == champion


@pytest.mark.parametrize(("delta", "best"), [(-0.001, 0), (0.002, 1), (None, 1)])
def test_best_moves_with_the_approval(run: Promote, uri: str, delta: float | None, best: int) -> None:
    run(decision(), "run-1")
    store = open_registry(uri)
    champion = store.alias("champion") or ""
    judged = replace(decision(champion, ap=0.6), gate=ASKS)
    if delta is not None:
        compared = Comparison(delta=delta, low=-0.1, high=0.1, probability_better=0.5, resamples=1000)
        judged = replace(judged, intervals={"champion": compared, "best": None})
    run(judged, "run-2")
    assert store.alias("best") == champion, "not before"
    approve(store, two(store)[1], by="Ada", account="")
    assert store.alias("best") == two(store)[best]


def test_a_first_model_waits_too(run: Promote, uri: str) -> None:
    outcome = run(replace(decision(), gate=ASKS), "run-1")
    store = open_registry(uri)
    version = names(store)[0]
    assert outcome == f"pending approval: {version} (no champion yet)"
    assert store.champion() is None
    assert approve(store, version, by="Ada", account="") == f"promoted: {version} (no champion before), approved by Ada"


def test_an_approval_that_died_is_completed(store: Registry) -> None:
    """Between the swap and the record."""
    champion, challenger = two(store)
    store.swap_alias("champion", challenger, expected=champion)
    assert approve(store, challenger, by="Ada", account="").endswith("approved by Ada")
    assert store.alias("best") == challenger


def test_prune_keeps_what_waits(store: Registry, run: Promote) -> None:
    """Also one that a newer challenger took the alias from."""
    champion, first = two(store)
    for key in ("run-3", "run-4"):
        run(replace(decision(champion, ap=0.6), gate=ASKS), key)
    second, third = (version.version for version in store.list()[2:])
    assert names(store) == [first, second, third]
    kept = {entry.version: entry.kept for entry in prune.plan(store, keep=1)}
    assert kept == {champion: "best champion", first: PENDING, second: PENDING, third: "challenger"}
    with pytest.raises(RegistryError, match=f"{first} is pending approval; it stays"):
        store.remove(first)
    approve(store, first, by="Ada", account="")
    assert names(store) == [], "the others were compared with the champion before"
    assert {e.version: e.kept for e in prune.plan(store, keep=1)}[second] == ""
    store.remove(second)
    assert second not in {version.version for version in store.list()}


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Results or errors of calls in threads that start together."""
    found: list[Any] = [None] * len(actions)
    start = threading.Barrier(len(actions))

    def call(number: int) -> None:
        start.wait()
        try:
            found[number] = actions[number]()
        except (ChampionMoved, PromotionRefused) as error:
            found[number] = error

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_many_approvers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several waiting versions and several people, one wins; the record names who."""
    monkeypatch.setattr(publish, "judge_again", lambda judged: judged)
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"graph")
    for attempt in range(5):
        root = str(tmp_path / f"registry-{attempt}")
        for key in ("a", "b"):
            path = tmp_path / "decision.json"
            path.write_text(replace(decision(), gate=ASKS).to_json())
            promote(decision=str(path), model=str(model), registry=root, key=key, metadata={})
        store = LocalRegistry(root)
        people = [(version, f"{who} for {version}") for version in names(store) for who in ("Ada", "Bob")]
        results = at_once(
            *(partial(approve, LocalRegistry(root), version, by=who, account="") for version, who in people)
        )
        done = [who for (_, who), result in zip(people, results, strict=True) if isinstance(result, str)]
        champion = store.champion()
        assert champion is not None
        asked = approval_of(champion)
        assert asked is not None
        assert asked.by in done
        assert asked.by.endswith(champion.version)
        assert {who.split()[-1] for who in done} == {champion.version}, "nobody approved another version"
        assert store.alias("previous") is None, "the champion moved once"


def test_an_approval_and_a_promotion_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both were judged against the same champion: one wins, the other hears of it."""
    monkeypatch.setattr(publish, "judge_again", lambda judged: judged)
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"graph")

    def start(judged: Decision, key: str, root: str) -> str:
        path = tmp_path / f"{key}.json"
        path.write_text(judged.to_json())
        return promote(decision=str(path), model=str(model), registry=root, key=key, metadata={})

    for attempt in range(5):
        root = str(tmp_path / f"registry-{attempt}")
        start(decision(), "first", root)
        start(replace(decision("v0001"), gate=ASKS), "asks", root)
        results = at_once(
            partial(approve, LocalRegistry(root), "v0002", by="Ada", account=""),
            partial(start, decision("v0001", ap=0.7), "races", root),
        )
        assert sorted(isinstance(result, ChampionMoved) for result in results) == [False, True], results
        store = LocalRegistry(root)
        assert store.alias("champion") == ("v0002" if isinstance(results[0], str) else "v0003")
        assert store.alias("previous") == "v0001"
        assert names(store) == []
        asked = approval_of(store.version("v0002"))
        assert asked is not None
        assert bool(asked.by) == isinstance(results[0], str), "only an approval that won is recorded"


def test_two_approvers_in_the_gap_of_vertex_ai(uri: str, store: Registry) -> None:
    """Between our reading and our merge another approval may come: still one champion; the record names one of them."""
    if "://" not in uri:
        pytest.skip("the local registry has a lock")
    _, challenger = two(store)
    results = at_once(*(partial(approve, open_registry(uri), challenger, by=who, account="") for who in ("Ada", "Bob")))
    assert any(isinstance(result, str) for result in results)
    champion = store.champion()
    assert champion is not None
    assert champion.version == challenger
    asked = approval_of(champion)
    assert asked is not None
    assert asked.by in [who for who, result in zip(("Ada", "Bob"), results, strict=True) if isinstance(result, str)]
