"""infra/'s Terraform is whole, and sets up what docs/vertex.md's gcloud commands set up. No Terraform is needed."""

import json
import re
import shlex
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import hcl2
import pytest

from tests.test_docs import VARIABLES, blocks

REPOSITORY = Path(__file__).parents[1]
INFRA = REPOSITORY / "infra"
FILES = sorted(INFRA.glob("*.tf"))
PAGE = (REPOSITORY / "docs" / "vertex.md").read_text()
ACCOUNTS = ("runner", "scheduler", "builder")


@cache
def terraform() -> dict[str, Any]:
    """Every block by its address, such as `google_storage_bucket.runs`, `var.region` and `local.members`."""
    found: dict[str, Any] = {}
    for path in FILES:
        for kind, blocks_of_kind in hcl2.loads(path.read_text()).items():
            if kind.startswith("__"):
                continue
            for block in blocks_of_kind:
                entries = {name.strip('"'): body for name, body in block.items() if not name.startswith("__")}
                if kind == "resource":
                    ((type_name, one),) = entries.items()
                    ((name, body),) = ((key.strip('"'), value) for key, value in one.items())
                    entries = {f"{type_name}.{name}": body}
                else:
                    prefix = {"locals": "local.", "variable": "var."}.get(kind, f"{kind}.")
                    entries = {f"{prefix}{name}": body for name, body in entries.items()}
                twice = set(entries) & set(found) - {"terraform.required_version"}
                assert not twice, f"{path.name}: {twice}"
                found |= entries
    return found


def texts(address: str) -> list[str]:
    """A list of texts."""
    return [one.strip('"') for one in terraform()[address]]


@cache
def gcloud() -> list[list[str]]:
    """The words of every gcloud command of the page, those of a loop once per value."""
    found, loop = [], ("", [""])
    for line in "\n".join(blocks(PAGE)).replace("; do ", "; do\n").replace("; done", "\ndone").splitlines():
        if started := re.match(r"\s*for (\w+) in (.*); do", line):
            loop = started[1], shlex.split(started[2])
        elif line.strip() == "done":
            loop = "", [""]
        elif line.strip().startswith("gcloud "):
            for part in line.split(" && "):
                for value in loop[1]:
                    known = {**VARIABLES, loop[0]: value}
                    filled = part
                    for _ in range(2):  # a loop's value may be a variable
                        filled = re.sub(r"\$(\w+)", lambda name, known=known: known.get(name[1], name[0]), filled)
                    found.append(shlex.split(filled, comments=True))
    return found


def after(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


def beginning(*words: str) -> list[list[str]]:
    return [found[len(words) + 1 :] for found in gcloud() if found[1 : len(words) + 1] == list(words)]


def who(member: str) -> str:
    """runner, scheduler, builder, or operator."""
    address = member.removeprefix("serviceAccount:")
    return next((name for name in ACCOUNTS if VARIABLES[name.upper()] == address), "operator")


def test_every_reference_has_a_definition() -> None:
    """What `terraform validate` would find first."""
    text = "\n".join(re.sub(r"#.*", "", path.read_text()) for path in FILES)
    used = set(re.findall(r"\b((?:var|local)\.\w+|google_\w+\.\w+)", text))
    assert used - set(terraform()) == set()
    defined = {name for name in terraform() if name.startswith(("var.", "local."))}
    assert defined - used == set(), "a variable that nothing reads"
    for name in defined:
        if name.startswith("var."):
            assert terraform()[name]["description"].strip('"'), name
            assert terraform()[name]["type"]
    example = hcl2.loads((INFRA / "terraform.tfvars.example").read_text())
    assert {f"var.{name}" for name in example if not name.startswith("__")} <= defined
    required = {name for name in defined if name.startswith("var.") and "default" not in terraform()[name]}
    assert required <= {f"var.{name}" for name in example}


def test_the_services() -> None:
    (words,) = beginning("services", "enable")
    assert sorted(texts("local.services")) == sorted(words[: words.index("--project")])
    for needed in ("compute", "dataflow", "cloudbuild"):
        assert f"{needed}.googleapis.com" in words


def test_the_names() -> None:
    assert [words[0] for words in beginning("artifacts", "repositories", "create")] == [
        terraform()["google_artifact_registry_repository.images"]["repository_id"].strip('"')
    ]
    created = [words[0] for words in beginning("iam", "service-accounts", "create")]
    accounts = {name for name in terraform()["local.accounts"] if not name.startswith("__")}
    assert sorted(created) == sorted(f"centernet-{name}" for name in accounts)
    assert accounts == set(ACCOUNTS)
    (bucket,) = beginning("storage", "buckets", "create")
    assert "--uniform-bucket-level-access" in bucket
    assert terraform()["google_storage_bucket.runs"]["uniform_bucket_level_access"] is True


def test_the_roles_on_the_project() -> None:
    stated = defaultdict(set)
    for words in beginning("projects", "add-iam-policy-binding"):
        stated[who(after(words, "--member"))].add(after(words, "--role"))
    declared = terraform()["local.project_roles"]
    roles = {name: set(re.findall(r"roles/[\w.]+", json.dumps(declared[name]))) for name in stated}
    assert dict(stated) == roles
    assert {name for name in declared if not name.startswith("__")} == set(stated)
    assert "roles/cloudbuild.builds.builder" in stated["builder"], "builds act as an account that may push"


def test_the_roles_on_the_bucket_and_on_accounts() -> None:
    buckets = {
        who(after(words, "--member")): after(words, "--role")
        for words in beginning("storage", "buckets", "add-iam-policy-binding")
    }
    declared = terraform()["local.bucket_roles"]
    assert buckets == {name: role.strip('"') for name, role in declared.items() if not name.startswith("__")}
    acts: dict[str, set[str]] = defaultdict(set)
    for words in beginning("iam", "service-accounts", "add-iam-policy-binding"):
        assert after(words, "--role") == "roles/iam.serviceAccountUser"
        acts[who(after(words, "--member"))].add(who(words[0]))
    wanted = terraform()["local.acts_as"]
    assert acts == {name: {one.strip('"') for one in ones} for name, ones in wanted.items() if name[:2] != "__"}


def test_the_alert() -> None:
    metric = terraform()["google_logging_metric.failed"]
    (words,) = beginning("logging", "metrics", "create")
    assert words[0] == metric["name"].strip('"')
    job = json.loads(terraform()["local.pipeline_job"])
    assert after(words, "--log-filter") == json.loads(metric["filter"]).replace("${local.pipeline_job}", job)
    policy = terraform()["google_monitoring_alert_policy.failed"]
    (condition,) = policy["conditions"]
    (threshold,) = condition["condition_threshold"]
    (words,) = beginning("alpha", "monitoring", "policies", "create")
    text = json.loads(threshold["filter"]).replace("${local.pipeline_job}", job)
    assert after(words, "--condition-filter") == re.sub(r"\$\{[^}]*\}", metric["name"].strip('"'), text)
    assert after(words, "--display-name") == policy["display_name"].strip('"')


def test_the_webhooks_secret() -> None:
    (words,) = beginning("secrets", "add-iam-policy-binding")
    declared = terraform()["google_secret_manager_secret_iam_member.webhook"]
    assert after(words, "--role") == declared["role"].strip('"')
    assert who(after(words, "--member")) in declared["member"]


@pytest.mark.parametrize("account", ACCOUNTS)
def test_the_outputs_are_the_flags(account: str) -> None:
    assert f'google_service_account.all["{account}"].email' in terraform()[f"output.{account}"]["value"]
