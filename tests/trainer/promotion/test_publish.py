"""Promotion: publishes and swaps, refuses, or completes what died half-way."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess.base.errors import Failure, InputError
from tests.trainer.made_decision import evaluation
from tests.trainer.made_evaluation import write_evaluation
from tests.trainer.made_report import analysis
from tests.trainer.promotion.test_serving import evaluated
from trainer.coco.bootstrap import Comparison
from trainer.config.gate_config import GateConfig
from trainer.promotion import publish
from trainer.promotion.case import status_of
from trainer.promotion.decision import Decision, RuleResult, read_decision
from trainer.promotion.judge import judge
from trainer.promotion.publish import PromotionRefused, hold, plain, promote
from trainer.promotion.rules import RULE_NAMES
from trainer.promotion.seal import sealed
from trainer.promotion.serving import read_serving
from trainer.registry.base import ChampionMoved
from trainer.registry.digest import model_digest
from trainer.registry.local import LocalRegistry

ROOT = Path(__file__).parents[3]
MODEL_DIGEST = hashlib.sha256(b"14 5\nsaved_model.pbgraph").hexdigest()
"""Digest of the model that `run` promotes."""


def decision(champion: str = "", ap: float = 0.5, digest: str = "abc", promoted: bool = True) -> Decision:
    values: dict[str, tuple[float | str, float | None]] = {
        "finite": (0, 0),
        "complete": (72, 72),
        "same_data": (digest, None),
    }
    values |= {"min_ap": (ap, 0.4), "min_delta": (0.1, -0.005)}
    values |= {name: (None, None) for name in RULE_NAMES if name not in values}
    rules = tuple(
        RuleResult(name=name, value=value, threshold=threshold, status=status_of(promoted), sentence="So it is.")
        for name, (value, threshold) in values.items()
    )
    return Decision(promote=promoted, champion_version=champion, rules=rules, model_digest=MODEL_DIGEST)


@pytest.fixture
def registry(tmp_path) -> LocalRegistry:
    return LocalRegistry(str(tmp_path / "registry"))


@pytest.fixture
def run(tmp_path, registry, monkeypatch):
    """Promotes a new model under a decision made by hand, as if its evidence had been found to agree."""
    monkeypatch.setattr(publish, "judge_again", lambda judged: judged)
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"graph")

    def promote_it(judged: Decision | str, key: str, evaluation: str = "", **metadata) -> str:
        path = tmp_path / "decision.json"
        path.write_text(judged if isinstance(judged, str) else judged.to_json())
        return promote(
            decision=str(path),
            model=str(model),
            registry=str(registry.root),
            key=key,
            metadata=metadata,
            evaluation=evaluation,
        )

    return promote_it


def test_promotions_in_a_row(run, registry):
    assert run(decision(""), "run-1", run_id="run-1") == "promoted: v0001 (no champion before)"
    assert run(decision("v0001", ap=0.6), "run-2") == "promoted: v0002 (was v0001)"
    assert registry.aliases() == {"champion": "v0002", "previous": "v0001", "best": "v0002"}
    assert registry.version("v0001").metadata == {
        "run_id": "run-1",
        "ap": 0.5,
        "data_digest": "abc",
        "model_digest": MODEL_DIGEST,
        "replaced": {"champion": "", "best": ""},
    }
    assert registry.version("v0002").metadata["replaced"] == {"champion": "v0001", "best": "v0001"}


@pytest.mark.parametrize(
    "broken",
    [
        decision(promoted=False),
        replace(decision(), promote=False),
        replace(decision(promoted=False), promote=True),  # edited by hand: the rules still say no
        *(replace(decision(), rules=decision().rules[:i] + decision().rules[i + 1 :]) for i in range(len(RULE_NAMES))),
        replace(decision(), rules=()),
    ],
)
def test_refuses_and_touches_nothing(run, registry, broken):
    with pytest.raises(PromotionRefused, match="does not allow promotion"):
        run(broken, "run-1")
    assert not registry.root.exists()


@pytest.mark.parametrize("text", ["", "{}", json.dumps({"promote": True})])
def test_not_a_decision_file(run, registry, text):
    with pytest.raises(InputError):
        run(text, "run-1")
    assert not registry.root.exists()


def test_champion_moved(run, registry):
    run(decision(""), "run-1")
    with pytest.raises(ChampionMoved, match="champion is v0001, not unset"):
        run(decision(""), "run-2")  # its gate saw an empty registry
    assert registry.aliases() == {"champion": "v0001", "best": "v0001", "challenger": "v0002"}
    assert [v.version for v in registry.list()] == ["v0001", "v0002"], "the loser stays published"
    run(decision("v0001"), "run-2")  # judged again, against the current champion
    assert registry.aliases() == {"champion": "v0002", "previous": "v0001", "best": "v0001"}


def test_again_after_it_died(run, registry):
    """The step ran, its outcome was lost, and it runs again: the same outcome, one version."""
    run(decision(""), "run-1")
    first = run(decision("v0001"), "run-2")
    assert run(decision("v0001"), "run-2") == first == "promoted: v0002 (was v0001)"
    assert len(registry.list()) == 2
    assert registry.alias("previous") == "v0001"
    # Judged again later, against itself.
    assert run(replace(decision("v0002"), best_version="v0001"), "run-2") == "promoted: v0002 (already champion)"


@pytest.mark.parametrize(
    ("later", "champion"), [("promoted", "v0003"), ("promoted twice", "v0004"), ("rolled back", "v0001")]
)
def test_a_promotion_that_runs_again_leaves_a_champion_that_came_after_it(run, registry, later, champion):
    """A run that was killed behind its promotion is resumed: it promotes once, whatever it finds."""
    run(decision(""), "run-1")
    run(decision("v0001", ap=0.6), "run-2")
    if later == "rolled back":
        registry.rollback()
    else:
        run(decision("v0002", ap=0.7), "run-3")
        if later == "promoted twice":
            run(decision("v0003", ap=0.8), "run-4")
    before = registry.aliases()
    for seen in ("v0001", champion):  # what it saw then, and what a resolution of today would give
        expected = f"promoted: v0002 (was {seen}; champion is {champion} now)"
        assert run(replace(decision(seen, ap=0.6), best_version="v0002"), "run-2") == expected
        assert registry.aliases() == before


def test_a_key_that_has_published_another_model(run, registry, tmp_path):
    """A run was resumed after its model had been exported again: the decision is about the new export."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "saved_model.pb").write_bytes(b"another graph")
    registry.publish(str(other), {"ap": 0.5, "data_digest": "abc"}, key="run-1")
    with pytest.raises(PromotionRefused, match="v0001, which has the key 'run-1', is not the model that was judged"):
        run(decision(""), "run-1")
    assert registry.aliases() == {}


def test_a_version_has_the_digest_of_its_export(run, registry):
    run(decision(""), "run-1")
    assert model_digest(registry.version("v0001").path) == MODEL_DIGEST


def test_died_between_publishing_and_the_alias(run, registry, tmp_path):
    registry.publish(str(tmp_path / "model"), {"ap": 0.5, "data_digest": "abc"}, key="run-1")
    assert run(decision(""), "run-1") == "promoted: v0001 (no champion before)"
    assert len(registry.list()) == 1


@pytest.mark.parametrize(
    ("second", "best"),
    [
        (decision("v0001", ap=0.6), "v0002"),
        (decision("v0001", ap=0.5), "v0001"),
        (decision("v0001", ap=0.496), "v0001"),  # promoted within the tolerance: not the best
        (decision("v0001", ap=0.3, digest="other"), "v0002"),  # not comparable
    ],
)
def test_best(run, registry, second, best):
    run(decision("", ap=0.5), "run-1")
    run(second, "run-2")
    assert registry.alias("champion") == "v0002"
    assert registry.alias("best") == best


def test_a_damaged_best_is_replaced(run, registry):
    run(decision("", ap=0.5), "run-1")
    run(decision("v0001", ap=0.4), "run-2")
    (registry.root / "versions" / "v0001" / "version.json").unlink()
    against = replace(decision("v0002", ap=0.45), best_version="v0001")
    assert run(against, "run-3") == "promoted: v0003 (was v0002)"
    assert registry.alias("best") == "v0003"


def test_hold():
    judged = decision(promoted=False)
    rules = [replace(rule, status=status_of(rule.name != "min_ap")) for rule in judged.rules]
    i = [rule.name for rule in judged.rules].index("min_ap")
    rules[i] = replace(rules[i], value=0.41, threshold=0.5)
    assert hold(replace(judged, rules=tuple(rules))) == "held: min_ap 0.4100 < 0.5000"
    rules[0] = replace(rules[0], status="fail", sentence="The file 'a'\nis not python3.")
    assert hold(replace(judged, rules=tuple(rules))) == (
        "held: finite: The file a is not python; min_ap 0.4100 < 0.5000"
    )


@given(st.text(alphabet="'\"python3{ \n.x"))
def test_plain_text_survives_kfp(text):
    found = plain(text)
    assert not any(taken in found for taken in ("'", '"', "python3", "{{", "\n"))


@pytest.mark.parametrize("digest", ["", "0" * 64])
def test_another_model_than_the_judged_one_is_refused(run, registry, digest):
    with pytest.raises(PromotionRefused, match="is not the model that was judged"):
        run(replace(decision(), model_digest=digest), "run-1")
    assert not registry.root.exists()


def test_best_is_moved_by_the_gates_comparison_on_the_same_images(run, registry):
    """A recorded AP on older data does not count if both were scored on the current images."""
    run(decision("", ap=0.5), "run-1")
    worse = Comparison(delta=-0.003, low=-0.004, high=0.1, probability_better=0.4, resamples=1000)
    against = {"champion": worse, "best": None}
    run(replace(decision("v0001", ap=0.3, digest="other"), intervals=against), "run-2")
    assert registry.aliases()["best"] == "v0001"
    better = replace(worse, delta=0.001)
    against = {"champion": better, "best": better}
    run(replace(decision("v0002", ap=0.3, digest="new"), best_version="v0001", intervals=against), "run-3")
    assert registry.aliases()["best"] == "v0003"


class Judged:
    """A model, evaluations of it and of the champion, and the gate's decision about them, on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.registry = folder, LocalRegistry(str(folder / "registry"))
        self.model = folder / "model"
        self.model.mkdir(parents=True)
        (self.model / "saved_model.pb").write_bytes(b"graph")
        self.config = GateConfig(resamples=100)
        self.champion = self.registry.publish(str(self.model), {"model_digest": MODEL_DIGEST}, key="run-1")
        self.registry.swap_alias("champion", self.champion, expected=None)
        new = write_evaluation(folder / "new", evaluation(0.6, model_digest=MODEL_DIGEST))
        old = write_evaluation(folder / "old", evaluation(0.5, model_digest=MODEL_DIGEST))
        judged = judge(new, old, self.config, self.champion, best=old, best_version="v0001", expected_objects=100)
        assert judged.promote, judged.to_text()
        self.decision = folder / "decision.json"
        self.decision.write_text(judged.to_json())

    def promote(self, **changes: Any) -> str:
        registry = str(self.registry.root)
        arguments = {"decision": str(self.decision), "model": str(self.model), "registry": registry, "key": "run-2"}
        return promote(**{**arguments, "metadata": {}, **changes})

    def assert_refused(self, what: Any, *kinds: type[Failure], match: str = r"\w") -> None:
        with pytest.raises(kinds, match=match) as error:
            self.promote()
        assert "\n" not in str(error.value)
        assert self.registry.aliases() == {"champion": "v0001"}, what
        assert len(self.registry.list()) == 1, what


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    return Judged(tmp_path)


def test_promotes_from_evidence(judged: Judged) -> None:
    assert judged.promote(gate=judged.config) == "promoted: v0002 (was v0001)"


def test_the_thresholds_come_from_the_evidence(judged: Judged) -> None:
    """Without `evaluation`, as in a promotion by hand."""
    scored = evaluation(0.6, model_digest=MODEL_DIGEST)
    new = write_evaluation(judged.folder / "new", scored, analysis=analysis().to_json())
    again = judge(new, str(judged.folder / "old" / "evaluation.json"), judged.config, judged.champion)
    judged.decision.write_text(again.to_json())
    judged.promote()
    serving = read_serving(judged.registry.version("v0002").path)
    assert serving is not None
    assert (serving.score_threshold, serving.model_digest) == (0.42, MODEL_DIGEST)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a parsed file, containers included."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))


def changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The content with another value at a path; `...` removes it."""
    again = json.loads(json.dumps(content))
    place = again
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return again


VALUES = (0.01, 0.5, 1, 0, "x", "", None, float("nan"), True, False, [], {}, ...)


@pytest.mark.parametrize("name", ["decision.json", "new/evaluation.json", "old/evaluation.json"])
@pytest.mark.parametrize("least", [80, pytest.param(500, marks=pytest.mark.slow)], ids=["one value", "every value"])
def test_no_edit_of_one_field_promotes(judged: Judged, name: str, least: int) -> None:
    """Every field is removed and gets a value in turn, or all of them."""
    path = judged.folder / name
    content = json.loads(path.read_text())
    edits = 0
    for number, where in enumerate(leaves(content)):
        for value in VALUES if least > 80 else (VALUES[number % (len(VALUES) - 1)], ...):
            text = json.dumps(changed(content, where, value))
            if text == json.dumps(content):
                continue
            path.write_text(text)
            judged.assert_refused((where, value), InputError, PromotionRefused)
            edits += 1
    assert edits > least
    path.write_text(json.dumps(content))
    assert judged.promote() == "promoted: v0002 (was v0001)", "and what was not edited does"


@pytest.mark.parametrize("field", ["value", "threshold", "status"])
def test_every_rule_is_computed_again(judged: Judged, field: str) -> None:
    """An edit with a new digest: the evidence gives another decision."""
    content = json.loads(judged.decision.read_text())
    for i, rule in enumerate(content["rules"]):
        others = {"pass": "skipped", "skipped": "pass"}
        value = others[rule["status"]] if field == "status" else 0.25
        judged.decision.write_text(json.dumps(sealed(changed(content, ("rules", i, field), value))))
        judged.assert_refused(rule, PromotionRefused, match=rf"differs in rules\[{i}\]\.{field}: ")


def test_a_lower_threshold_than_the_runs_is_refused(judged: Judged) -> None:
    with pytest.raises(PromotionRefused, match="other thresholds than the run's gate section"):
        judged.promote(gate=replace(judged.config, min_ap=0.9))
    content = json.loads(judged.decision.read_text())
    judged.decision.write_text(json.dumps(sealed(changed(content, ("gate", "min_ap"), 0.01))))
    judged.assert_refused("min_ap", PromotionRefused, match=r"differs in rules\[\d+\]\.threshold: ")


def test_a_failing_rule_that_was_made_to_pass(judged: Judged) -> None:
    new = write_evaluation(judged.folder / "new", evaluation(0.3, model_digest=MODEL_DIGEST))
    held = judge(new, str(judged.folder / "old" / "evaluation.json"), judged.config, "v0001")
    assert not held.promote
    passed = replace(held, promote=True, rules=tuple(replace(rule, status="pass") for rule in held.rules))
    judged.decision.write_text(passed.to_json())
    judged.assert_refused("held", PromotionRefused, match="judged again, the candidate is held: ")


@pytest.mark.parametrize("name", ["new", "old", "new/matches.npz", "old/matches.npz", "new/predictions.json"])
def test_evidence_that_was_moved(judged: Judged, name: str) -> None:
    (judged.folder / name).rename(judged.folder / "elsewhere")
    judged.assert_refused(name, PromotionRefused, match="put them back, or judge again where they are now")
    assert read_decision(str(judged.decision)).promote, "the decision itself is whole"


@pytest.mark.parametrize("who", ["champion", "best"])
def test_the_candidate_was_compared_with_another_model_than_it_says(judged: Judged, who: str) -> None:
    """By hand: the evaluation of an earlier champion, or of the candidate itself, under the current champion's name."""
    folder = judged.folder
    wrong = write_evaluation(folder / "wrong", evaluation(0.5, model_digest="0" * 64, model="runs/x"))
    given = {"champion": str(folder / "old" / "evaluation.json"), "best": str(folder / "old" / "evaluation.json")}
    given |= {who: wrong}
    new = str(folder / "new" / "evaluation.json")
    again = judge(new, given["champion"], judged.config, "v0001", best=given["best"], best_version="v0001")
    judged.decision.write_text(again.to_json())
    judged.assert_refused(who, PromotionRefused, match=f"is not of v0001, the {who}, but of runs/x, another model")


def test_the_best_version_was_left_out(judged: Judged) -> None:
    store = judged.registry
    store.swap_alias("best", store.publish(str(judged.model), {}, key="run-0"), expected=None)
    with pytest.raises(PromotionRefused, match="was not compared with the best version, v0002; evaluate that one"):
        judged.promote()
    assert store.aliases() == {"champion": "v0001", "best": "v0002"}


# One light process imports, then forks. Each child promotes and is killed after a random time.
KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
from trainer.config.gate_config import GateConfig
from trainer.registry.local import LocalRegistry
from trainer.promotion.judge import judge
from trainer.promotion.publish import promote
folder, random = Path(sys.argv[1]), random.Random(0)
registry = LocalRegistry(str(folder / "registry"))
new, old = (str(folder / name / "evaluation.json") for name in ("new", "old"))
killed, moved, longest = 0, set(), 0.0
import fsspec.implementations.local  # before the forks: a child's time is the promotion's
for attempt in range(-2, 25):  # the first two run to their end and are timed
    champion, best = registry.alias("champion") or "", registry.alias("best") or ""
    compared = dict(best=old, best_version=best) if best not in ("", champion) else {}  # killed between two aliases
    decision = judge(new, old if champion else None, GateConfig(resamples=100), champion, **compared)
    (folder / "decision.json").write_text(decision.to_json())
    child = os.fork()
    if child == 0:
        promote(decision=str(folder / "decision.json"), model=str(folder / "model"), registry=str(registry.root),
                key=f"run-{attempt}", metadata={})
        os._exit(0)
    if attempt < 0:
        started = time.monotonic()
        assert os.waitpid(child, 0)[1] == 0
        longest = 1.2 * (time.monotonic() - started)
    else:
        time.sleep(random.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    champion = registry.champion()  # raises if it is incomplete
    if champion is not None:
        moved.add(champion.version)
        for file in (folder / "model").rglob("*"):
            if file.is_file():
                assert (Path(champion.path) / file.relative_to(folder / "model")).read_bytes() == file.read_bytes()
    assert registry.incomplete() == {}
print("\\n", killed, len(moved))  # a line of its own: a killed child may have left half a line
"""


def test_kill_9_at_25_random_moments_leaves_a_complete_champion(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.weights = [tf.Variable(tf.fill([250_000], float(i))) for i in range(4)]
    tf.saved_model.save(module, str(tmp_path / "model"))
    digest = model_digest(str(tmp_path / "model"))  # each version is the same model, and so is its champion
    new = write_evaluation(tmp_path / "new", evaluation(0.6, model_digest=digest))
    old = write_evaluation(tmp_path / "old", evaluation(0.5, model_digest=digest))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    killed, moved = map(int, done.stdout.splitlines()[-1].split())
    print(f"{killed} of 25 killed, {moved} different champions seen")
    assert killed >= 5, "all had ended before they were killed: nothing was tested"
    assert moved >= 2
    registry = LocalRegistry(str(tmp_path / "registry"))
    loaded = tf.saved_model.load(registry.champion().path)
    assert [float(w[0]) for w in loaded.weights] == [0.0, 1.0, 2.0, 3.0]
    # Whatever was killed: promoting again works and leaves a champion.
    champion, best = registry.alias("champion") or "", registry.alias("best") or ""
    compared = {"best": old, "best_version": best} if best not in ("", champion) else {}
    judged = judge(new, old, GateConfig(resamples=100), champion, **compared)
    (tmp_path / "decision.json").write_text(judged.to_json())
    last = promote(
        decision=str(tmp_path / "decision.json"),
        model=str(tmp_path / "model"),
        registry=str(tmp_path / "registry"),
        key="last",
        metadata={},
    )
    assert last.startswith("promoted: ")
    assert not list((tmp_path / "registry" / "versions").glob("tmp-*"))


def test_the_published_model_has_its_thresholds(run, registry, tmp_path, capsys):
    """They are outside the digest, so promoting the same model again under its key still finds the judged one."""
    evaluation = evaluated(tmp_path / "candidate", analysis())
    run(decision(""), "run-1", evaluation)
    assert capsys.readouterr().out.startswith("serving.json: score threshold 0.420")
    serving = read_serving(registry.version("v0001").path)
    assert serving is not None
    assert serving.score_threshold == 0.42
    assert run(decision("v0001"), "run-1", evaluation) == "promoted: v0001 (already champion)"
    (tmp_path / "model" / "serving.json").write_text("of an earlier evaluation")
    run(decision("v0001"), "run-2")
    assert read_serving(registry.version("v0002").path) is None, "an old file is not published again"
