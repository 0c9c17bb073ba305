"""A small profile, and rows of new images, from random numbers."""

import numpy as np

from trainer.profile.columns import Class, Measures, columns
from trainer.profile.profile import Profile
from trainer.profile.rows import Row, Rows, stack

MEASURES = Measures(classes=(Class(id=3, name="ace"), Class(id=7, name="king")), threshold=0.4, input_size=(64, 64))
NAMES = [column.name for column in columns(MEASURES)]


def rows(images: int, seed: int = 0, features: int = 12, **shifts: float) -> Rows:
    """Standard normal values; a shift by the statistic's name, with _ for spaces."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(images, len(NAMES)))
    for name, shift in shifts.items():
        values[:, NAMES.index(name.replace("_", " "))] += shift
    return stack(
        [
            Row(
                id=i + 1,
                name=f"{seed}-{i}.jpg",
                values=values[i].astype(np.float32),
                features=rng.normal(size=features).astype(np.float32),
                fingerprint=rng.bytes(16).hex(),
            )
            for i in range(images)
        ]
    )


def profile(images: int = 5, seed: int = 0, wrong: bool = False, features: int = 12) -> Profile:
    """A profile for the model digest m…m; `wrong`: with a value too few per image."""
    made = rows(images, seed, features)
    if wrong:
        made = Rows(
            ids=made.ids,
            names=made.names,
            values=made.values[:, 1:],
            features=made.features,
            fingerprints=made.fingerprints,
        )
    return Profile(model_digest="m" * 64, data_digest="d" * 64, measures=MEASURES, rows=made)
