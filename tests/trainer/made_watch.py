"""A small `watch.json`."""

from typing import Any

from trainer.watch.result import DifferentImage, Statistic, WatchResult


def watch_result(**changes: Any) -> WatchResult:
    values: dict[str, Any] = {
        "verdict": "drifted",
        "reason": "brightness is lower (effect -0.93, p 0.0001); 1 of 2 statistics moved",
        "champion": "v0001",
        "model": "/registry/versions/v0001",
        "model_digest": "m" * 64,
        "images": "/new",
        "images_digest": "d" * 64,
        "since": "2026-11-01T00:00:00+00:00",
        "num_images": 62,
        "scored": 61,
        "rejects": {"truncated_image": 1},
        "near_duplicates": 1,
        "compared": 60,
        "profile": "/registry/versions/v0001/profile.npz",
        "profile_digest": "f" * 64,
        "profile_images": 80,
        "minimum": 30,
        "alpha": 0.01,
        "permutations": 9999,
        "seed": 0,
        "p": 0.0001,
        "features": True,
        "statistics": (
            Statistic(name="brightness", group="picture", effect=-0.93, p=0.0001, drifted=True, before=120.5, now=61.0),
            Statistic(name="ace: detections", group="classes", effect=0.02, p=1.0, drifted=False, before=0.2, now=None),
        ),
        "different": (
            DifferentImage(
                image_id=3,
                file_name="a/3.jpg",
                rarity=1.9,
                statistic="brightness",
                value=20.0,
                usual=(100.0, 140.0),
            ),
        ),
        "scores": "/watch/scores",
    }
    return WatchResult(**{**values, **changes})
