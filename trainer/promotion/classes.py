"""Matches a model's classes to those of an annotation file: by name, because ids are a file's own affair."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

Category = tuple[int, str]
"""Id and name."""
SHOWN = 5
"""Maximum number of names that a sentence lists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMatch:
    """A class that model and annotation file share."""

    name: str
    model_id: int
    """Its id in the model's label map."""
    category_id: int
    """Its id in the annotation file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Classes:
    """A model's classes and those of the annotation file that it was scored on."""

    matched: tuple[ClassMatch, ...] = ()
    only_in_model: tuple[str, ...] = ()
    """Classes of the model that the file lacks: their detections are not scored."""
    only_in_data: tuple[str, ...] = ()
    """Classes of the file that the model does not know."""
    ambiguous: tuple[str, ...] = ()
    """Names that several classes have, and whose ids do not tell which is which: they are not scored."""
    detections_unscored: int = 0
    """Detections of classes that are not matched."""

    @property
    def category_ids(self) -> frozenset[int]:
        """The file's ids of the matched classes."""
        return frozenset(entry.category_id for entry in self.matched)

    @property
    def of_one_name(self) -> tuple[str, ...]:
        """Names of several matched classes, which only their ids tell apart."""
        return tuple(name for name, count in Counter(entry.name for entry in self.matched).items() if count > 1)

    @property
    def to_file(self) -> dict[int, int]:
        """The model's id of each matched class to the file's."""
        return {entry.model_id: entry.category_id for entry in self.matched}

    def to_text(self) -> str:
        """What is not matched, in one line; "" if every class is."""
        parts = (
            ("only in the model", self.only_in_model),
            ("only in the annotation file", self.only_in_data),
            ("ambiguous, because several classes have the name", self.ambiguous),
        )
        found = [f"{what}: {listed(names)}" for what, names in parts if names]
        if found and self.detections_unscored:
            found.append(f"{self.detections_unscored} detections of these classes are not scored")
        return "; ".join(found)


def match_classes(model: Sequence[Category], data: Sequence[Category]) -> Classes:
    """Matches classes by name. A name that occurs more than once is matched where its id agrees as well.

    Args:
      model: the classes of the model's label map.
      data: the categories of the annotation file.
    """
    model, data = list(dict.fromkeys(model)), list(dict.fromkeys(data))
    times = {side: Counter(name for _, name in entries) for side, entries in (("model", model), ("data", data))}
    of_name = {name: number for number, name in data}
    matched: list[ClassMatch] = []
    ambiguous: list[str] = []
    for number, name in model:
        if max(times["model"][name], times["data"][name]) == 1:
            if name in of_name:
                matched.append(ClassMatch(name=name, model_id=number, category_id=of_name[name]))
        elif (number, name) in data:
            matched.append(ClassMatch(name=name, model_id=number, category_id=number))
        elif name in of_name:
            ambiguous.append(name)
    taken = {(entry.category_id, entry.name) for entry in matched}
    ambiguous += [n for c, n in data if (c, n) not in taken and n in times["model"]]
    return Classes(
        matched=tuple(sorted(matched, key=lambda entry: entry.category_id)),
        only_in_model=tuple(dict.fromkeys(name for _, name in model if name not in of_name)),
        only_in_data=tuple(dict.fromkeys(name for _, name in data if name not in times["model"])),
        ambiguous=tuple(dict.fromkeys(ambiguous)),
    )


def alike(first: str, second: str) -> bool:
    """Whether two names differ in case, spaces or Unicode form only: not the same class, but probably meant to be."""
    one, other = (" ".join(unicodedata.normalize("NFKC", name).split()).casefold() for name in (first, second))
    return one == other


def listed(names: Sequence[str]) -> str:
    """The first names in one line, and the number of the others."""
    shown = ", ".join(" ".join(name.split()) or "(no name)" for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def plural(count: int, kind: str = "") -> str:
    """The number of classes in words: "1 common class", "3 common classes"."""
    return f"{count} {kind}{'class' if count == 1 else 'classes'}"
