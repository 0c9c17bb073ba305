"""Runs a step as its container would: the executor's command from the compiled spec, with an executor input filled in.

No container engine is needed: the image holds this repository and this environment.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]

Spec = dict[str, Any]


@dataclass(frozen=True)
class Container:
    """One container that is ready to start."""

    argv: list[str]
    environment: dict[str, str]
    folder: Path
    declared: dict[str, str]
    """The part of the environment that the spec and the service set."""

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.argv,
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self) -> subprocess.CompletedProcess[str]:
        with self.start() as process:
            out, err = process.communicate()
        return subprocess.CompletedProcess(self.argv, process.returncode, out, err)

    def output(self) -> dict[str, Any] | None:
        """The content of executor_output.json, None if the step wrote none."""
        path = self.folder / "executor_output.json"
        return dict(json.loads(path.read_text())) if path.exists() else None


def artifact(uri: str | Path, **metadata: Any) -> dict[str, Any]:
    """An input artifact; its type matters to nobody here."""
    return {"name": "made", "type": {"schemaTitle": "system.Model"}, "uri": str(uri), "metadata": metadata}


def container(
    spec: Spec,
    component: str,
    folder: Path,
    parameters: dict[str, Any],
    artifacts: dict[str, dict[str, Any]] | None = None,
    *,
    root: str = "",
    pool: int = 0,
    **environment: str,
) -> Container:
    """The container of a component's step.

    Args:
      spec: compiled.
      component: as the spec names it, without "comp-".
      folder: of the process, and of its executor output.
      parameters: all that the component declares, but those of Google's launcher.
      artifacts: inputs.
      root: where the backend puts outputs; the folder by default.
      pool: of a custom job's worker pools; every replica of a pool runs the pool's command.
      environment: what the service or the test adds.
    """
    declared = spec["components"][f"comp-{component}"]
    inputs, outputs = declared.get("inputDefinitions", {}), declared.get("outputDefinitions", {})
    runs = spec["deploymentSpec"]["executors"][declared["executorLabel"]]["container"]
    takes = set(inputs.get("parameters", {}))
    if "worker_pool_specs" in takes:
        pools = inputs["parameters"]["worker_pool_specs"]["defaultValue"]
        runs = pools[pool]["container_spec"]
        takes -= {name for name, facts in inputs["parameters"].items() if facts.get("isOptional")}
    assert set(parameters) == takes
    assert set(artifacts or {}) == set(inputs.get("artifacts", {}))
    text = json.dumps(
        {
            "inputs": {
                "parameterValues": parameters,
                "artifacts": {name: {"artifacts": [given]} for name, given in (artifacts or {}).items()},
            },
            "outputs": {
                "parameters": {name: {"outputFile": str(folder / name)} for name in outputs.get("parameters", {})},
                "artifacts": {
                    name: {"artifacts": [{**artifact(f"{root or folder}/{name}"), "type": facts["artifactType"]}]}
                    for name, facts in outputs.get("artifacts", {}).items()
                },
                "outputFile": str(folder / "executor_output.json"),
            },
        }
    )
    service = {**{entry["name"]: entry["value"] for entry in runs.get("env", [])}, **environment}
    return Container(
        # Google's launcher reads the command from JSON, hence the escape; after that it is the same text.
        [part.replace("{{$.json_escape[1]}}", text).replace("{{$}}", text) for part in runs["command"] + runs["args"]],
        {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            # TensorFlow loads the file that this names when it is imported. The TPU image has it; nobody else needs it.
            **{name: value for name, value in service.items() if name != "TF_PLUGGABLE_DEVICE_LIBRARY_PATH"},
        },
        folder,
        service,
    )


def execute(
    spec: Spec, component: str, folder: Path, *arguments: Any, **more: Any
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any] | None]:
    """The finished process, and what it wrote; arguments as for `container`."""
    made = container(spec, component, folder, *arguments, **more)
    return made.run(), made.output()
