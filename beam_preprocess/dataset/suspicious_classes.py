"""Classes that one split lacks, that nothing shows, that share a name, or that have very few objects."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from beam_preprocess.format.annotations import CocoAnnotations

FEW_OBJECTS = 5
"""A class with fewer training objects is named in a warning."""
LISTED = 5
"""Maximum number of classes that a message names."""


def found(parsed: Mapping[str, CocoAnnotations]) -> Iterator[tuple[str, str]]:
    """(code, message) of what is suspicious about the classes.

    Args:
      parsed: the file of one split or of both, by "train" and "val".
    """
    names: dict[int, str] = {}
    for coco in parsed.values():
        names |= dict(coco.categories)
    yield from _same_name(names)
    objects = {split: _objects(coco) for split, coco in parsed.items()}
    if len(parsed) == 2:
        yield from _one_split(names, objects)
    train = objects.get("train", Counter[int]())
    few = sorted((c for c in names if 0 < train[c] < FEW_OBJECTS), key=lambda c: (train[c], c))
    if few:
        shown = _listed([f"{names[c]} {train[c]}" for c in few])
        yield (
            "few_objects",
            f"train: {_classes(len(few))} fewer than {FEW_OBJECTS} objects ({shown}); they will hardly be learned: "
            "annotate more, or merge or remove the classes",
        )


def _one_split(names: Mapping[int, str], objects: Mapping[str, Counter[int]]) -> Iterator[tuple[str, str]]:
    train, val = objects["train"], objects["val"]
    ordered = sorted(names)
    groups: Sequence[tuple[str, list[int], str]] = (
        (
            "class_nowhere",
            [c for c in ordered if not train[c] and not val[c]],
            "no objects at all: a root category? Each takes a heatmap channel and gets no AP; remove them from the "
            "categories",
        ),
        (
            "class_only_in_val",
            [c for c in ordered if val[c] and not train[c]],
            "objects in val only: they cannot be learned, and count as AP 0; add training objects, or remove the "
            "classes",
        ),
        (
            "class_only_in_train",
            [c for c in ordered if train[c] and not val[c]],
            "objects in train only: no score will cover them; add validation objects",
        ),
    )
    for code, classes, text in groups:
        if classes:
            shown = _listed([f"{names[c]} (id {c})" for c in classes])
            yield code, f"{shown}: {_classes(len(classes))} {text}"


def _same_name(names: Mapping[int, str]) -> Iterator[tuple[str, str]]:
    of_name: dict[str, list[int]] = {}
    for category_id, name in sorted(names.items()):
        alike = " ".join(unicodedata.normalize("NFKC", name).split()).casefold()
        of_name.setdefault(alike, []).append(category_id)
    same = [ids for ids in of_name.values() if len(ids) > 1]
    if same:
        shown = _listed([" and ".join(f"{names[c]!r} (id {c})" for c in ids) for ids in same])
        yield (
            "same_category_name",
            f"categories with one name: {shown}; they are trained and scored as different classes: merge them, or "
            "rename one",
        )


def _objects(coco: CocoAnnotations) -> Counter[int]:
    """Number of objects by category id, without crowd regions and annotations that have no box."""
    usable = ~coco.crowd & (coco.bbox_lengths == 4)
    return Counter(coco.annotation_category_ids[usable].tolist())


def _classes(count: int) -> str:
    return f"{count} class has" if count == 1 else f"{count} classes have"


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - LISTED
    return ", ".join(texts[:LISTED]) + (f" and {more} more" if more > 0 else "")
