"""`centernet watch --help`; what it does is tested in tests/trainer/watch/test_run.py."""

from pipeline.commands.watch import EXIT_CODES, parser
from tests.trainer.command_checks import assert_help_is_light
from trainer.watch.result import WORDS
from trainer.watch.run import ALPHA, PERMUTATIONS


def test_help_is_light_and_has_the_defaults_of_the_call() -> None:
    assert_help_is_light("pipeline.commands.watch")
    flags = parser().parse_args(["--images", "photos"])
    assert (flags.alpha, flags.permutations, flags.batch_size) == (ALPHA, PERMUTATIONS, 8)
    assert EXIT_CODES.keys() == WORDS.keys()
