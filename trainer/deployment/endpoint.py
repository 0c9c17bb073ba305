"""One endpoint of Vertex AI: read, create, change by compare-and-swap, deploy, undeploy, delete.

Each call survives a lost answer. What the service may reject because an earlier attempt has already had its effect is
compared with what is there.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from beam_preprocess.base.errors import Failure, InputError
from trainer.shared import google_cloud
from trainer.shared.google_cloud import CloudError, Place, call

DEPLOY_SECONDS = 7200.0
"""Maximum wait for a deployment: the service ends one after two hours (`ModelContainerSpec.deployment_timeout`)."""
CHANGE_SECONDS = 1200.0
"""Maximum wait for an endpoint that is created or deleted, or a model that is undeployed."""

T = TypeVar("T")


class EndpointMoved(Failure):
    """Somebody else changed the endpoint between our reading and our change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployed:
    """One deployed model."""

    id: str
    name: str
    """Display name: "centernet version 3"."""
    model: str
    """Id of its model."""
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """An endpoint as it was read."""

    etag: str
    labels: Mapping[str, str]
    split: Mapping[str, int]
    """Deployed models with traffic, to their percentage."""
    deployed: Mapping[str, Deployed]
    """By id."""


class Endpoint:
    """An endpoint by its id, which exists or not.

    Raises (all methods):
      CloudError: the service refuses or can't be reached.
    """

    def __init__(self, place: Place, endpoint_id: str) -> None:
        self.place = place
        self.id = endpoint_id
        self.name = f"{place.parent}/endpoints/{endpoint_id}"
        self._connected: Any = None

    def read(self) -> View | None:
        """What is there; None if the endpoint does not exist."""
        from google.api_core.exceptions import NotFound

        def request() -> Any:
            try:
                return self._client().get_endpoint(name=self.name, retry=None, timeout=google_cloud.CALL_SECONDS)
            except NotFound:
                return None

        found = self._call(f"read the endpoint {self.id}", request, "aiplatform.endpoints.get")
        return None if found is None else _view(found)

    def existing(self) -> View:
        """What is there.

        Raises:
          InputError: the endpoint does not exist.
        """
        found = self.read()
        if found is None:
            raise InputError(f"--endpoint {self.id}: there is none in {self.place.project} {self.place.region}")
        return found

    def create(self, labels: Mapping[str, str]) -> View:
        """Creates it, or returns the one that another call created meanwhile."""
        from google.api_core.exceptions import AlreadyExists, Conflict
        from google.cloud.aiplatform_v1.types import Endpoint as Message

        action = f"create the endpoint {self.id}"

        def request() -> View:
            try:
                operation = self._client().create_endpoint(
                    parent=self.place.parent,
                    endpoint=Message(display_name=self.id, labels=dict(labels)),
                    endpoint_id=self.id,
                    retry=None,
                    timeout=google_cloud.CALL_SECONDS,
                )
                google_cloud.finish(operation, action, seconds=CHANGE_SECONDS, look=self.read)
            except (AlreadyExists, Conflict):
                pass
            return _until(self.read, action, CHANGE_SECONDS)

        return self._call(action, request, "aiplatform.endpoints.create", after_doubt=self.read)

    def change(self, seen: View, *, split: Mapping[str, int] | None = None, labels: Mapping[str, str]) -> View:
        """Sets the labels, and the split if it is given, in one call, if nobody has changed the endpoint since.

        Args:
          seen: what the change was made from.
          split: the whole new split.
          labels: all new labels.

        Raises:
          EndpointMoved: somebody has.
        """
        from google.cloud.aiplatform_v1.types import Endpoint as Message

        message = Message(name=self.name, etag=seen.etag, labels=dict(labels))
        paths = ["labels"]
        if split is not None:
            message.traffic_split = dict(split)
            paths.append("traffic_split")

        def request() -> View:
            return _view(
                self._client().update_endpoint(
                    endpoint=message,
                    update_mask={"paths": paths},
                    retry=None,
                    timeout=google_cloud.CALL_SECONDS,
                )
            )

        def applied() -> View | None:
            now = self.read()
            done = now is not None and now.labels == labels and (split is None or now.split == split)
            return now if done else None

        try:
            return self._call(
                f"change the endpoint {self.id}", request, "aiplatform.endpoints.update", after_doubt=applied
            )
        except (CloudError, InputError) as error:
            now = self.read()
            if now is None or now.etag == seen.etag:
                raise
            raise EndpointMoved(
                f"endpoint {self.id}: somebody else changed it meanwhile; look at it, then rerun the command"
            ) from error

    def deploy(
        self, deployed: str, *, model: str, title: str, resources: Mapping[str, Any], split: Mapping[str, int]
    ) -> None:
        """Deploys a model and waits until it serves; it is deployed once, however often the call is made.

        Args:
          deployed: its id.
          model: full name of the model with its version.
          title: display name.
          resources: its `dedicatedResources`.
          split: the endpoint's new split, in which "0" is this model; empty leaves the split as it is, and the model
            without traffic.
        """
        from google.cloud.aiplatform_v1.types import DeployedModel, DeployModelRequest
        from google.protobuf import json_format

        content = {"id": deployed, "model": model, "displayName": title, "dedicatedResources": dict(resources)}
        asked = DeployModelRequest(
            endpoint=self.name,
            deployed_model=DeployedModel(json_format.ParseDict(content, DeployedModel.pb(DeployedModel()))),
            traffic_split=dict(split),
        )
        action = f"deploy {title} to {self.id}"

        def there() -> Deployed | None:
            now = self.read()
            return None if now is None else now.deployed.get(deployed)

        def start() -> Any:
            return self._client().deploy_model(request=asked, retry=None, timeout=google_cloud.CALL_SECONDS)

        self._once(action, start, there, "aiplatform.endpoints.deploy", DEPLOY_SECONDS)

    def undeploy(self, deployed: str) -> None:
        """Undeploys a model that has no traffic; one that is not deployed is fine."""
        action = f"undeploy {deployed} from {self.id}"

        def gone() -> bool | None:
            now = self.read()
            return now is None or deployed not in now.deployed or None

        def start() -> Any:
            return self._client().undeploy_model(
                endpoint=self.name,
                deployed_model_id=deployed,
                traffic_split={},
                retry=None,
                timeout=google_cloud.CALL_SECONDS,
            )

        if not gone():
            self._once(action, start, gone, "aiplatform.endpoints.undeploy", CHANGE_SECONDS)

    def delete(self) -> None:
        """Deletes the endpoint, on which nothing is deployed."""
        action = f"delete the endpoint {self.id}"

        def gone() -> bool | None:
            return self.read() is None or None

        def start() -> Any:
            return self._client().delete_endpoint(name=self.name, retry=None, timeout=google_cloud.CALL_SECONDS)

        if not gone():
            self._once(action, start, gone, "aiplatform.endpoints.delete", CHANGE_SECONDS)

    def _once(
        self, action: str, start: Callable[[], Any], look: Callable[[], Any], permission: str, seconds: float
    ) -> None:
        """Starts an operation that the service accepts once, and waits for its end.

        If the answer to an attempt was lost, its operation may still be running: then the service rejects the next
        attempt, and we wait for the effect of the lost one.
        """
        from google.api_core.exceptions import ClientError, TooManyRequests

        doubtful = False

        def request() -> Any:
            try:
                operation = start()
            except TooManyRequests:
                raise
            except ClientError as error:
                # 409 also without doubt: the process that began it may have died.
                if not doubtful and error.code != 409:
                    raise
                print(f"  {action}: {google_cloud.brief(error)}; waiting for the earlier call", flush=True)
                return _until(look, action, seconds)
            return google_cloud.finish(operation, action, seconds=seconds, look=look)

        def after_doubt() -> Any:
            nonlocal doubtful
            doubtful = True
            return look()

        self._call(action, request, permission, after_doubt=after_doubt)

    def _client(self) -> Any:
        if self._connected is None:
            from google.cloud.aiplatform_v1.services.endpoint_service import EndpointServiceClient

            self._connected = google_cloud.make_client(EndpointServiceClient, self.place)
        return self._connected

    def _call(
        self,
        action: str,
        request: Callable[[], T],
        permission: str,
        after_doubt: Callable[[], T | None] | None = None,
    ) -> T:
        return call(action, request, permission=permission, place=self.place, after_doubt=after_doubt)


def _until(look: Callable[[], T | None], action: str, seconds: float) -> T:
    """Waits for what an operation that we can't follow does.

    Raises:
      CloudError: it is not done in this time.
    """
    deadline, wait = time.monotonic() + seconds, google_cloud.FIRST_WAIT_SECONDS
    while (found := look()) is None:
        if time.monotonic() >= deadline:
            raise CloudError(f"could not {action}: an earlier call began it, and it is not done after {seconds:g} s")
        time.sleep(min(wait, google_cloud.LONGEST_LOOK_SECONDS))
        wait *= 2
    return found


def _view(message: Any) -> View:
    return View(
        etag=message.etag,
        labels=dict(message.labels),
        split={deployed: percent for deployed, percent in message.traffic_split.items() if percent},
        deployed={
            found.id: Deployed(
                id=found.id,
                name=found.display_name,
                model=found.model.rpartition("/")[2].partition("@")[0],
                version=found.model_version_id or found.model.partition("@")[2],
            )
            for found in message.deployed_models
        },
    )
