"""The CenterNet trainer: train, export, predict, evaluate, gate, promote and report, as a library and as
`python -m trainer.<verb>`. Importing it imports none of them."""

from trainer.shared import unused_imports

unused_imports.install()
