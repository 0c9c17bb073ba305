"""`--profile NAME`: a file of flags."""

from pathlib import Path

import pytest
import yaml

from pipeline.commands import flags as shared
from pipeline.commands import submit
from pipeline.commands.profiles import PER_CALL
from tests.loopback.invocations import CONFIG, DATA, PLACE, WHERE, Run, submitted
from tests.loopback.vertex_server import VertexServer

pytestmark = pytest.mark.usefixtures("loopback_cloud")

EXAMPLE = Path(__file__).parents[3] / "docs" / "profiles.example.yaml"
MINE = {
    "target": "vertex-cpu",
    "project": "my-project",
    "region": "us-central1",
    "pipeline_root": "gs://my-bucket/runs",
    "config": "custom-small",
    "coco-dir": "gs://my-bucket/coco",
    "no_config_check": True,
    "only_if_changed": False,
    "seed": 3,
    "labels": {"team": "vision", "cost": "4711"},
    "param": {"preprocess_on": "dataflow", "dataflow": {"max_workers": 20}},
}


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a profiles.yaml, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles.yaml").write_text(yaml.safe_dump({"mine": MINE, "empty": {}, "list": [1]}, sort_keys=False))
    return tmp_path


def test_a_profile_holds_every_flag_of_submit() -> None:
    assert set(submit.parser().flags()) - PER_CALL == set(shared._in_profiles().flags()) - PER_CALL


def test_flags_win(profiles: Path, run: Run) -> None:
    code, out, err = run("submit", "--profile", "mine", "--dry-run")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "pipeline       centernet-training for vertex-cpu on my-project, us-central1"
    assert "profile        mine of profiles.yaml" in lines
    assert "  seed                 3" in lines
    assert "team=vision, cost=4711" in out
    assert '"max_workers": 20' in out
    _, out, _ = run("submit", "--labels", "team=ours", "--profile=mine", "--seed", "5", "--labels=a=b", "--dry-run")
    assert "  seed                 5" in out.splitlines()
    assert "cost=4711, team=ours, a=b" in out


def test_other_verbs_take_the_flags_that_they_have(profiles: Path, vertex: VertexServer, run: Run) -> None:
    run_id = submitted(vertex, run)
    assert run("list", "--profile", "mine")[1].startswith(run_id)
    assert run("status", run_id, "--profile", "mine")[0] == 0
    assert run("schedule", "list", "--profile", "mine")[1] == "no schedules\n"
    code, out, _ = run("schedule", "create", "--name", "w", "--cron", "0 3 * * 1", "--profile", "mine", "--dry-run")
    assert (code, "schedule       w: TZ=Etc/UTC 0 3 * * 1" in out) == (0, True)


def test_there_is_no_default(profiles: Path, run: Run) -> None:
    code, _, err = run("list")
    assert (code, "--project and --region: not given" in err) == (2, True)


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        ("mien", "has no such profile; did you mean 'mine'? known are empty, list, mine"),
        ("xyz", "has no such profile; known are empty, list, mine"),
        ("list", "is a list; give flags and values"),
        ({"projct": "p"}, "projct: unknown key; did you mean 'project'?"),
        ({"dry_run": True}, "dry_run: unknown key; it belongs to one call: give it as a flag"),
        ({"pipeline-root": "gs://a/b", "pipeline_root": "gs://a/b"}, "given twice, in two spellings"),
        ({"spot": "yes"}, "spot: is 'yes'; write true or false"),
        ({"project": None}, "project: is None, null; give a text or a number"),
        ({"project": ["p"]}, "project: is ['p'], a list"),
        ({"labels": "team=vision"}, "labels: is 'team=vision'; give names and values, or a list"),
    ],
)
def test_a_wrong_profile(profile: str | dict[str, object], says: str, profiles: Path, run: Run) -> None:
    name = profile if isinstance(profile, str) else "wrong"
    if isinstance(profile, dict):
        (profiles / "profiles.yaml").write_text(yaml.safe_dump({"wrong": profile}))
    code, _, err = run("list", "--profile", name)
    assert code == 2
    assert err.startswith(f"error: --profile {name}: profiles.yaml")
    assert err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize(("text", "says"), [(None, "cannot be read"), ("", "holds no profiles"), ("{", "not YAML")])
def test_a_wrong_file(text: str | None, says: str, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text)
    code, _, err = run("list", "--profile", "prod", "--profiles", path)
    assert (code, says in err) == (2, True)


@pytest.mark.parametrize("name", yaml.safe_load(EXAMPLE.read_text()))
def test_the_example(name: str, run: Run) -> None:
    code, out, err = run("submit", "--profiles", EXAMPLE, "--profile", name, "--no-config-check", "--dry-run")
    assert (code, err) == (0, "")
    assert "weights        from gs://my-bucket/weights/extremenet (backbone)" in out


def test_a_flag_that_conflicts_is_refused(profiles: Path, run: Run) -> None:
    flags = [*PLACE, "--target", "vertex-gpu", *WHERE, *CONFIG, *DATA]
    code, _, err = run("submit", "--profile", "mine", *flags, "--dry-run")
    assert (code, "--coco-dir gs://my-bucket/coco: given together with --train-images" in err) == (2, True)
