"""A running `centernet serve` against bare calls of the model's signature, and under load with broken and slow clients.

    python -m benchmarks.serve --model runs/latest/saved_model

Every image has a size of its own, which the answer repeats: an answer of another image is found. The clients share the
machine with the server, and their CPU seconds are in its numbers.
"""

import argparse
import base64
import http.client
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from beam_preprocess.base.command import Parser, run
from beam_preprocess.base.errors import Failure

SIDES = range(120, 220)
"""Heights and widths of the images: 10,000 different pairs."""
BROKEN: Sequence[Callable[[bytes], bytes]] = (lambda image: image[: len(image) // 2], lambda _: b"text", lambda _: b"")
"""Half a file, another kind of file, an empty one."""
PIECES, PAUSE_SECONDS = 8, 0.1
"""How a slow client sends its body."""
MAX_GROWTH = 0.05
"""Fraction by which the server's memory may grow between the first quarter of the requests and the end."""
PREDICT = "/v1/models/centernet:predict"


class WrongAnswers(Failure):
    """Requests were lost or mixed up, or memory grew."""


def image_of(number: int) -> tuple[bytes, tuple[int, int]]:
    """(JPEG, (height, width)) of a number: blocks of colour, of a size that no other number below 10,000 has."""
    height, width = SIDES[number // len(SIDES) % len(SIDES)], SIDES[number % len(SIDES)]
    coarse = np.random.default_rng(number).integers(0, 256, (height // 16 + 1, width // 16 + 1, 3)).astype(np.uint8)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.imencode(".jpg", pixels)[1].tobytes(), (height, width)


def body_of(image: bytes) -> bytes:
    """The body of a V1 request."""
    return json.dumps({"instances": [{"b64": base64.b64encode(image).decode()}]}).encode()


@dataclass(frozen=True)
class Timing:
    """Seconds of each request, and of all together."""

    seconds: Sequence[float]
    whole: float

    def line(self, name: str, images_per_request: int = 1) -> str:
        """One row of the result."""
        p50, p99 = np.percentile(self.seconds, [50, 99]) * 1000
        rate = len(self.seconds) * images_per_request / self.whole
        return f"{name:34s} {rate:7.1f} images/s   p50 {p50:7.1f} ms   p99 {p99:7.1f} ms"


def timed(call: Callable[[int], None], numbers: Sequence[int], clients: int = 1) -> Timing:
    """Calls for all numbers, from several threads."""
    seconds: list[float] = []
    waiting = iter(numbers)
    lock = threading.Lock()

    def client() -> None:
        while True:
            with lock:
                number = next(waiting, None)
            if number is None:
                return
            started = time.perf_counter()
            call(number)
            seconds.append(time.perf_counter() - started)

    started = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Timing(seconds, time.perf_counter() - started)


@contextmanager
def serving(model: str, environment: str) -> Iterator[tuple[str, int]]:
    """(host, port) of a server of its own."""
    command = [sys.executable, "-m", "trainer.serve", "--model", model, "--port", "0", "--environment", environment]
    with tempfile.TemporaryFile("w+") as errors:  # libjpeg writes a line about each broken image
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if line.startswith("serving ")), "")
            if not line:
                errors.seek(0)
                raise WrongAnswers(f"the server did not start: {errors.read().strip()[-300:]}")
            host, port = line.split(" at http://")[1].split()[0].rsplit(":", 1)
            yield host, int(port)
        finally:
            process.terminate()
            process.wait(60)


class Client(threading.local):
    """One connection per thread, kept open.

    Args:
      address: (host, port).
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=300)

    def post(self, body: bytes, *, slowly: bool = False) -> tuple[int, Any]:
        """Status and parsed answer."""
        self._connection.putrequest("POST", PREDICT)
        self._connection.putheader("Content-Type", "application/json")
        self._connection.putheader("Content-Length", str(len(body)))
        self._connection.endheaders()
        for start in range(0, len(body), size := len(body) // PIECES + 1 if slowly else len(body)):
            self._connection.send(body[start : start + size])
            if slowly:
                time.sleep(PAUSE_SECONDS)
        answer = self._connection.getresponse()
        if slowly:
            time.sleep(PAUSE_SECONDS)
        return answer.status, json.loads(answer.read())

    def resident(self) -> float:
        """MiB of the server's memory, by its own metrics."""
        self._connection.request("GET", "/metrics")
        text = self._connection.getresponse().read().decode()
        (line,) = (line for line in text.splitlines() if line.startswith("process_resident_memory_bytes "))
        return float(line.split()[1]) / 2**20


def speed(model: str, address: tuple[str, int], requests: int, clients: int) -> None:
    """Prints bare calls, and the same images through the server."""
    import tensorflow as tf

    from trainer.saved_model.inference import load_signature

    signature = load_signature(model)
    images = [image_of(i)[0] for i in range(requests)]
    bodies = [body_of(image) for image in images]
    client = Client(address)

    def bare(number: int, count: int = 1) -> None:
        signature(image_bytes=tf.constant(images[number : number + count]))["num_detections"].numpy()

    def served(number: int) -> None:
        status, answer = client.post(bodies[number])
        if status != 200:
            raise WrongAnswers(f"status {status}: {answer}")

    bare(0)
    bare(0, 8)
    everything = range(requests)
    print(timed(bare, everything).line("bare call, one image"), flush=True)
    print(timed(lambda i: bare(i, 8), range(0, requests - 7, 8)).line("bare call, 8 images", 8), flush=True)
    print(timed(served, everything).line("served, 1 client"), flush=True)
    print(timed(served, everything, clients).line(f"served, {clients} clients"), flush=True)


def load(address: tuple[str, int], requests: int, clients: int, slow: int, broken: float) -> None:
    """Sends the requests, checks each answer, and prints what came back.

    Raises:
      WrongAnswers: see there.
    """
    bad = set(random.Random(0).sample(range(requests), round(requests * broken)))
    client = Client(address)
    outcomes: Counter[str] = Counter()
    memory: list[float] = []
    counter = itertools.count(1)
    ended = threading.Event()

    def ask(number: int, *, slowly: bool = False) -> None:
        image, size = image_of(number)
        broken_one = number in bad and not slowly
        try:
            status, answer = client.post(
                body_of(BROKEN[number % len(BROKEN)](image) if broken_one else image), slowly=slowly
            )
        except (OSError, http.client.HTTPException, ValueError) as error:
            outcomes[f"lost ({type(error).__name__})"] += 1
            return
        if broken_one:
            expected = status == 400 and answer["error"].startswith("instances[0]: cannot be decoded")
        else:
            expected = status == 200 and tuple(answer["predictions"][0]["image_size"]) == size
        kind = "slow" if slowly else "broken, refused" if broken_one else "answered"
        outcomes[kind if expected else f"wrong answer (status {status})"] += 1
        if not slowly and next(counter) % (requests // 20) == 0:
            memory.append(client.resident())

    def slow_client(start: int) -> None:
        for number in itertools.count(start, slow):
            if ended.is_set():
                return
            ask(number, slowly=True)

    threads = [threading.Thread(target=slow_client, args=(i,)) for i in range(slow)]
    for thread in threads:
        thread.start()
    timing = timed(ask, range(requests), clients)
    ended.set()
    for thread in threads:
        thread.join()
    print(timing.line(f"load, {clients} clients and {slow} slow ones"))
    print("outcomes: " + ", ".join(f"{count} {kind}" for kind, count in sorted(outcomes.items())))
    print("memory, MiB, every 5 % of the requests: " + " ".join(f"{value:.0f}" for value in memory))
    growth = memory[-1] / memory[len(memory) // 4 - 1] - 1
    print(f"growth from a quarter of the requests to the end: {growth:+.1%} (at most {MAX_GROWTH:.0%})")
    good = {"answered": requests - len(bad), "broken, refused": len(bad)}
    if {kind: count for kind, count in outcomes.items() if kind != "slow"} != good:
        raise WrongAnswers(f"expected {good}")
    if growth > MAX_GROWTH:
        raise WrongAnswers("the server's memory grows")


def parser() -> Parser:
    """The parser of the command."""
    made = Parser(
        prog="python -m benchmarks.serve",
        description="Requests per second and latency of centernet serve against bare calls, and a load test.",
        epilog="example: python -m benchmarks.serve --model runs/latest/saved_model --requests 1000",
    )
    made.add_argument("--model", default="runs/latest/saved_model", help="SavedModel folder (default: %(default)s)")
    made.add_argument("--environment", default=".venv-serve", help="the server's environment (default: %(default)s)")
    made.add_argument("--requests", type=int, default=10_000, help="of the load test (default: %(default)s)")
    made.add_argument("--timed", type=int, default=400, help="requests per speed (default: %(default)s)")
    made.add_argument("--clients", type=int, default=16, help="concurrent clients (default: %(default)s)")
    made.add_argument("--slow", type=int, default=4, help="slow clients besides (default: %(default)s)")
    made.add_argument("--broken", type=float, default=0.05, help="fraction of broken images (default: %(default)s)")
    return made


def _call(flags: argparse.Namespace) -> None:
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}", flush=True)
    with serving(flags.model, flags.environment) as address:
        speed(flags.model, address, flags.timed, flags.clients)
        load(address, flags.requests, flags.clients, flags.slow, flags.broken)


if __name__ == "__main__":
    sys.exit(run(parser(), None, _call))
