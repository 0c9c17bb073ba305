"""A worker's role in a job of several machines, translated from Vertex AI's format to TensorFlow's.

Vertex AI sets CLUSTER_SPEC ({"cluster": {"workerpool0": [...], ...}, "task": {"type", "index"}}) in every container of
a custom job. TensorFlow reads TF_CONFIG, which may be absent or name reduction servers; those are not TensorFlow tasks.
"""

import json
from collections.abc import Mapping

from beam_preprocess.base.errors import InputError

_ROLES = {"workerpool0": "chief", "workerpool1": "worker"}


def tf_config(environment: Mapping[str, str]) -> str:
    """The TF_CONFIG that MultiWorkerMirroredStrategy needs.

    Args:
      environment: of the process.

    Returns:
      JSON; "" if there is only one machine.

    Raises:
      InputError: CLUSTER_SPEC is damaged, or this process does not train.
    """
    text = environment.get("CLUSTER_SPEC", "")
    if not text:
        return ""
    try:
        spec = json.loads(text)
        pools, task = spec["cluster"], spec["task"]
        cluster = {_ROLES[name]: list(hosts) for name, hosts in pools.items() if name in _ROLES and hosts}
        role, index = task["type"], int(task["index"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"CLUSTER_SPEC: {text[:200]}: not Vertex AI's format ({error!r}); unset it") from error
    if sum(map(len, cluster.values())) < 2:
        return ""
    if role not in _ROLES:
        raise InputError(f"CLUSTER_SPEC: task.type {role!r} doesn't train; only {', '.join(_ROLES)} do")
    return json.dumps({"cluster": cluster, "task": {"type": _ROLES[role], "index": index}})
