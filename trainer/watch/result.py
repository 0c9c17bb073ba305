"""`watch.json`: the verdict on new images, and what it rests on."""

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

from beam_preprocess.base.errors import InputError
from beam_preprocess.base.files import read_text
from beam_preprocess.base.json import build, checked_version, parse
from trainer.promotion.seal import check_seal, sealed

NAME = "watch.json"
PAGE = "watch.html"
"""The same for people, in the same folder."""
SCHEMA = 1
WATCH_AGAIN = "run `centernet watch` again"

Verdict = Literal["steady", "drifted", "too-few-images"]
WORDS: dict[Verdict, str] = {"steady": "steady", "drifted": "drifted", "too-few-images": "too few images to tell"}
"""For people."""
Group = Literal["picture", "image", "detections", "classes", "features"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistic:
    """One statistic of an image, compared between the new images and the profile's."""

    name: str
    """Such as "brightness" or "ace: detections"; unique."""
    group: Group
    effect: float
    """Cliff's delta, -1 to 1: the chance that a new image has a larger value than one of the profile, minus the chance
    of a smaller one. For the statistic of all features together: how much more often than by chance an image's nearest
    neighbours come from its own side, 0 to 1."""
    p: float
    """p-value, adjusted for all statistics together (Westfall and Young)."""
    drifted: bool
    """Whether `p` is at most alpha."""
    before: float | None
    """Mean in the profile; None where no image has a value."""
    now: float | None
    """Mean in the new images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DifferentImage:
    """One of the new images that differ most from the profile."""

    image_id: int
    """As in the results of scoring."""
    file_name: str
    """Below the folder of the images."""
    rarity: float
    """How rare its rarest statistic is: -log10 of the share of the profile's images that are as far out."""
    statistic: str
    """The rarest one."""
    value: float
    usual: tuple[float, float]
    """Where 90 % of the profile's images are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchResult:
    """Content of `watch.json`."""

    verdict: Verdict
    reason: str
    """The verdict in one line."""
    champion: str
    """Version in the registry; "" if the model was given as a folder."""
    model: str
    """URI of its folder."""
    model_digest: str
    images: str
    """Folder of the new images."""
    images_digest: str
    """Of names, sizes and times (in a bucket: checksums) of the images that were scored."""
    since: str
    """UTC, ISO 8601: only newer images; "" for all."""
    num_images: int
    """Images that were listed."""
    scored: int
    rejects: dict[str, int]
    """Images that could not be scored, by reason code."""
    near_duplicates: int
    """Scored images that look like an earlier one, and are not compared."""
    compared: int
    """Images in the test: scored - near_duplicates."""
    profile: str
    """Where the profile comes from: URI of the version's file, or of the validation images that it was made from."""
    profile_digest: str
    """sha256 of the profile's content."""
    profile_images: int
    """Images of the profile that are compared."""
    minimum: int | None
    """Number of new images that "steady" needs; None: the profile has too few images for any number."""
    alpha: float
    """Chance of a false alarm, over all statistics together."""
    permutations: int
    seed: int
    p: float
    """p-value over all statistics together."""
    features: bool
    """Whether features of the backbone were compared: older exports have no signature for them."""
    statistics: tuple[Statistic, ...]
    """By ascending p, then by descending size of the effect."""
    different: tuple[DifferentImage, ...]
    """By descending rarity."""
    scores: str
    """URI of the folder with all scored images: detections from score 0.05 on (`trainer.scoring.results.read_results`),
    statistics, features and fingerprints (`read_rows`)."""
    digest: str = field(default="", compare=False)
    """The digest of the file's content, filled when it is read."""

    def to_json(self) -> str:
        """Text of `watch.json`."""
        return json.dumps(sealed({"schema_version": SCHEMA, **asdict(self)}), indent=1, allow_nan=False) + "\n"


def parse_watch(text: str, where: str) -> WatchResult:
    """Reads the text of `watch.json`.

    Raises:
      InputError: not JSON, another schema version, an unknown or missing key, a value of another type, a probability
        outside 0 to 1, or a file that was changed after it was written.
    """
    content = parse(text, where, WATCH_AGAIN)
    result = build(WatchResult, checked_version(content, SCHEMA, where, WATCH_AGAIN), where, WATCH_AGAIN)
    for name, value in [
        ("alpha", result.alpha),
        ("p", result.p),
        *((entry.name, entry.p) for entry in result.statistics),
    ]:
        if not 0 <= value <= 1:
            raise InputError(f"{where}: {name}: is {value}; a probability is from 0 to 1; {WATCH_AGAIN}")
    check_seal(content, where, WATCH_AGAIN)
    return result


def read_watch(uri: str) -> WatchResult:
    """Reads `watch.json`, from its path or its folder.

    Raises:
      InputError: there is no such file, or see `parse_watch`.
    """
    path = uri if uri.endswith(".json") else f"{uri.rstrip('/')}/{NAME}"
    return parse_watch(read_text(path, WATCH_AGAIN), path)
