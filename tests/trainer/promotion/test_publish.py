"""Promotion: publishes and swaps, refuses, or completes what died half-way."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_preprocess.base.errors import InputError
from tests.trainer.made_report import analysis
from tests.trainer.promotion.test_serving import evaluated
from trainer.coco.bootstrap import Comparison
from trainer.promotion.decision import Decision, RuleResult
from trainer.promotion.publish import PromotionRefused, hold, plain, promote
from trainer.promotion.rules import RULE_NAMES
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
        RuleResult(name=name, value=value, threshold=threshold, passed=promoted, sentence="So it is.")
        for name, (value, threshold) in values.items()
    )
    return Decision(promote=promoted, champion_version=champion, rules=rules, model_digest=MODEL_DIGEST)


@pytest.fixture
def registry(tmp_path) -> LocalRegistry:
    return LocalRegistry(str(tmp_path / "registry"))


@pytest.fixture
def run(tmp_path, registry):
    """Promotes a new model under a decision."""
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
    }


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
    assert run(decision("v0002"), "run-2") == "promoted: v0002 (already champion)"


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
    assert run(decision("v0002", ap=0.45), "run-3") == "promoted: v0003 (was v0002)"
    assert registry.alias("best") == "v0003"


def test_hold():
    judged = decision(promoted=False)
    rules = [replace(rule, passed=rule.name != "min_ap") for rule in judged.rules]
    rules[3] = replace(rules[3], value=0.41, threshold=0.5)
    assert hold(replace(judged, rules=tuple(rules))) == "held: min_ap 0.4100 < 0.5000"
    rules[0] = replace(rules[0], passed=False, sentence="The file 'a'\nis not python3.")
    assert hold(replace(judged, rules=tuple(rules))) == (
        "held: finite: The file a is not python; min_ap 0.4100 < 0.5000"
    )


@settings(deadline=None)
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


# One light process imports, then forks. Each child promotes and is killed after a random time.
KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
from trainer.registry.local import LocalRegistry
from trainer.promotion.publish import promote
folder, random = Path(sys.argv[1]), random.Random(0)
registry = LocalRegistry(str(folder / "registry"))
decision = json.loads((folder / "decision.json").read_text())
killed, moved, longest = 0, set(), 0.0
import fsspec.implementations.local  # before the forks: a child's time is the promotion's
for attempt in range(-2, 50):  # the first two run to their end and are timed
    decision["champion_version"] = registry.alias("champion") or ""
    (folder / "decision.json").write_text(json.dumps(decision))
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
print(killed, len(moved))
"""


def test_kill_9_at_50_random_moments_leaves_a_complete_champion(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.weights = [tf.Variable(tf.fill([250_000], float(i))) for i in range(4)]
    tf.saved_model.save(module, str(tmp_path / "model"))
    judged = replace(decision(), model_digest=model_digest(str(tmp_path / "model")))
    (tmp_path / "decision.json").write_text(judged.to_json())
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    killed, moved = map(int, done.stdout.split())
    print(f"{killed} of 50 killed, {moved} different champions seen")
    assert killed >= 5, "all had ended before they were killed: nothing was tested"
    assert moved >= 2
    registry = LocalRegistry(str(tmp_path / "registry"))
    loaded = tf.saved_model.load(registry.champion().path)
    assert [float(w[0]) for w in loaded.weights] == [0.0, 1.0, 2.0, 3.0]
    # Whatever was killed: promoting again works and leaves a champion.
    champion = registry.alias("champion") or ""
    (tmp_path / "decision.json").write_text(replace(judged, champion_version=champion).to_json())
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
