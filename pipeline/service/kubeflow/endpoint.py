"""A connection to one Kubeflow Pipelines installation: calls with retries, and errors in the user's terms."""

import re
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from beam_preprocess.base.errors import InputError
from pipeline.service.kubeflow.client import make_client, quiet
from trainer.shared import google_cloud
from trainer.shared.google_cloud import CloudError

T = TypeVar("T")


class Endpoint:
    """A connection to one installation. Calls are retried with back-off, like Vertex AI's."""

    def __init__(self, url: str, namespace: str):
        if not re.fullmatch(r"https?://(\[[0-9a-fA-F:]+\]|[\w.-]+)(:\d+)?(/\S*)?", url):
            raise InputError(f"--endpoint {url}: not an address; give one such as http://localhost:8080")
        self.url = url.rstrip("/")
        self.namespace = namespace or None
        self.client = self.call("connect", lambda: make_client(self.url, namespace), permission="get healthz")

    def call(
        self,
        action: str,
        request: Callable[[], T],
        *,
        permission: str,
        after_doubt: Callable[[], T | None] | None = None,
    ) -> T:
        """Makes one call; see `trainer.shared.google_cloud.call`.

        Args:
          action: as there, like `request` and `after_doubt`.
          request: see there.
          permission: verb and resource of Kubernetes' access rules, such as "create runs".
          after_doubt: see there.

        Raises:
          InputError: the service rejects the request as wrong.
          CloudError: every other failure.
        """
        from kfp_server_api.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        return google_cloud.with_back_off(
            action,
            request,
            errors=(ApiException, HTTPError),
            explain=lambda what, error, attempts: self._explain(what, error, attempts, permission),
            after_doubt=after_doubt,
        )

    def experiment(self, name: str) -> str:
        """Id of the experiment of that name; creates a missing one."""
        find = quiet()(partial(self.client.create_experiment, name, namespace=self.namespace))
        return str(self.call(f"find the experiment {name}", find, permission="create experiments").experiment_id)

    def found_experiment(self, name: str) -> str | None:
        """Id of the experiment of that name; None if nothing ran in it yet."""

        def find() -> str | None:
            try:
                return str(self.client.get_experiment(experiment_name=name, namespace=self.namespace).experiment_id)
            except ValueError as error:  # kfp's error for a name without experiment, and for several
                if "No experiment is found" not in str(error):
                    raise
                return None

        return self.call(f"find the experiment {name}", find, permission="list experiments")

    def _explain(self, action: str, error: Exception, attempts: int, permission: str) -> InputError | CloudError:
        status = int(getattr(error, "status", 0) or 0)
        answer = " ".join(str(getattr(error, "body", "") or error).split())[:300]
        tries = f" after {attempts} attempts" if attempts > 1 else ""
        failed = f"could not {action} at {self.url}{tries}"
        if status == 400:
            return InputError(f"{failed}: rejected: {answer}")
        if status == 401:
            return CloudError(
                f"{failed}: not signed in ({answer}); the endpoint needs credentials, which kfp's client reads from "
                "its KF_PIPELINES_… variables; or use kubectl port-forward",
                status=status,
            )
        if status == 403:
            return CloudError(
                f"{failed}: permission to {permission}.pipelines.kubeflow.org is missing in the namespace ({answer}); "
                "ask its owner for the role kubeflow-edit",
                status=status,
            )
        if status == 404:
            return CloudError(
                f"{failed}: not found ({answer}); is this the address of the API, and is the name right?", status=status
            )
        if status:
            return CloudError(f"{failed}: {status} {answer}", status=status)
        return CloudError(f"{failed}: no answer ({answer}); is the address right?")
