"""Asks an endpoint about the images of `smoke.json`, and compares its answers with what was recorded."""

import itertools
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from beam_preprocess.base.errors import Failure, InputError
from trainer.coco.agreement import Detections
from trainer.deployment.endpoint import Endpoint
from trainer.promotion.smoke import Smoke, SmokeImage, compare
from trainer.shared import google_cloud
from trainer.shared.google_cloud import CloudError

MISSED = 1e-6
"""Probability that none of the requests reaches a model that has its share of them."""
SPLIT_SECONDS = 600.0
"""Maximum wait until a new split takes effect."""


class SmokeFailed(Failure):
    """The deployed model does not answer as it was recorded, or too slowly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One answer of an endpoint."""

    deployed: str
    """Id of the deployed model that gave it."""
    detections: Detections
    seconds: float


class Predictions:
    """Requests to one endpoint, in the form that TensorFlow's container and ours take."""

    def __init__(self, endpoint: Endpoint) -> None:
        from google.cloud.aiplatform_v1.services.prediction_service import PredictionServiceClient

        self._endpoint = endpoint
        self._client: Any = google_cloud.make_client(PredictionServiceClient, endpoint.place)

    def ask(self, image: SmokeImage) -> Answer:
        """The detections in one image.

        Raises:
          SmokeFailed: the answer is not one of our models', or the server rejects the image or can't be reached.
        """
        from google.protobuf import json_format
        from google.protobuf.struct_pb2 import Value

        instance = json_format.ParseDict({"image_bytes": {"b64": image.image_bytes}}, Value())

        def request() -> tuple[Any, float]:
            started = time.perf_counter()
            found = self._client.predict(
                endpoint=self._endpoint.name, instances=[instance], retry=None, timeout=google_cloud.CALL_SECONDS
            )
            return found, time.perf_counter() - started

        try:
            message, seconds = google_cloud.call(
                f"ask the endpoint {self._endpoint.id} about {image.file_name}",
                request,
                permission="aiplatform.endpoints.predict",
                place=self._endpoint.place,
            )
        except (InputError, CloudError) as error:
            raise SmokeFailed(str(error)) from error
        content = json_format.MessageToDict(type(message).pb(message))
        return Answer(
            deployed=message.deployed_model_id,
            detections=_detections(content.get("predictions", []), image),
            seconds=seconds,
        )


def check_alone(endpoint: Endpoint, smoke: Smoke, *, max_latency_ms: float) -> str:
    """Tests the only model of an endpoint.

    Returns:
      What was found, in words.

    Raises:
      SmokeFailed: it answers otherwise than recorded, or too slowly.
    """
    predictions = Predictions(endpoint)
    predictions.ask(smoke.images[0])  # the first call of a server is slow
    answers = [predictions.ask(image) for image in smoke.images]
    return _judge(smoke, answers, max_latency_ms)


def check_share(endpoint: Endpoint, smoke: Smoke, *, deployed: str, percent: int, max_latency_ms: float) -> str:
    """Tests one of an endpoint's models by its share of the requests: each answer names the model that gave it.

    Args:
      endpoint: the endpoint.
      smoke: what was recorded.
      deployed: id of the model.
      percent: its share, more than 0.
      max_latency_ms: see `DeployConfig`.

    Raises:
      SmokeFailed: no answer came from it, or see `check_alone`.
    """
    predictions = Predictions(endpoint)
    enough = 1 if percent == 100 else math.ceil(math.log(MISSED) / math.log(1 - percent / 100))
    most = max(enough, len(smoke.images))
    found: dict[int, Answer] = {}
    deadline, wait = time.monotonic() + SPLIT_SECONDS, google_cloud.FIRST_WAIT_SECONDS
    for attempt in itertools.count():
        missing = [i for i in range(len(smoke.images)) if i not in found]
        if not missing or (found and attempt >= most):
            break
        if attempt and attempt % most == 0:  # a new split takes effect after a while
            if time.monotonic() >= deadline:
                break
            time.sleep(min(wait, google_cloud.LONGEST_LOOK_SECONDS))
            wait *= 2
        answer = predictions.ask(smoke.images[missing[attempt % len(missing)]])
        if answer.deployed == deployed:
            found[missing[attempt % len(missing)]] = answer
    if not found:
        raise SmokeFailed(
            f"none of {attempt} requests in {SPLIT_SECONDS:g} s was answered by it, although it has {percent} % of them"
        )
    asked = sorted(found)
    part = replace(smoke, images=tuple(smoke.images[i] for i in asked))
    return _judge(part, [found[i] for i in asked], max_latency_ms)


def _judge(smoke: Smoke, answers: Sequence[Answer], max_latency_ms: float) -> str:
    agreement = compare(smoke, [answer.detections for answer in answers])
    latency = statistics.median(answer.seconds for answer in answers) * 1000
    wrong = list(agreement.failures)
    if max_latency_ms and latency > max_latency_ms:
        wrong.append(f"the median request takes {latency:.0f} ms, more than max_latency_ms {max_latency_ms:g}")
    if wrong:
        raise SmokeFailed("; ".join(wrong))
    return (
        f"{len(answers)} images answered as recorded ({agreement.matched} detections, largest difference "
        f"{agreement.max_score_delta:.2g} for scores, {agreement.max_box_delta:.2g} pixels for boxes), "
        f"{latency:.0f} ms each"
    )


def _detections(predictions: Any, image: SmokeImage) -> Detections:
    if not isinstance(predictions, list) or len(predictions) != 1 or not isinstance(predictions[0], Mapping):
        raise SmokeFailed(f"{image.file_name}: the answer holds {len(predictions)} predictions instead of one")
    names = ("detection_boxes", "detection_scores", "detection_classes")
    try:
        boxes, scores, classes = (np.array(predictions[0][name], np.float64) for name in names)
        found = {
            "boxes": boxes.reshape(-1, 4) * [image.height, image.width, image.height, image.width],
            "scores": scores.reshape(len(scores)),
            "categories": classes.reshape(len(scores)).astype(np.int64),
        }
        kept = np.argsort(-found["scores"], kind="stable")
        kept = kept[found["scores"][kept] > 0]
        return {name: values[kept] for name, values in found.items()}
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise SmokeFailed(
            f"{image.file_name}: the answer is not one of a CenterNet export: it needs {', '.join(names)} ({error})"
        ) from error
