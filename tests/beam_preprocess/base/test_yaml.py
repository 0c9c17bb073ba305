"""Reading YAML: plain values, or one line."""

import random
import string

import pytest

from beam_preprocess.base import yaml
from beam_preprocess.base.errors import InputError

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]" for i in range(8)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: 1", {"a": 1}),
        ("a: [1.5, true, null, x]", {"a": [1.5, True, None, "x"]}),
        ("a: 1e-3\nb: -1E+4\nc: 12e\nd: '1e-3'", {"a": 0.001, "b": -10000.0, "c": "12e", "d": "1e-3"}),
        ("a: .inf", {"a": float("inf")}),
        ("'1': x", {"1": "x"}),
        ("a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}", {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}),
        ("a: '2024-02-30'", {"a": "2024-02-30"}),
        (f"a: {2**63 - 1}", {"a": 2**63 - 1}),
    ],
)
def test_plain_values_are_read(text: str, value: object) -> None:
    assert yaml.load(text, "f") == value


def test_a_flag_may_repeat_a_key() -> None:
    assert yaml.load("{a: 1, a: 2}", "f", last_wins=True) == {"a": 2}


def test_the_depth_limit_is_exact() -> None:
    assert yaml.load("[" * yaml.MAX_DEPTH + "]" * yaml.MAX_DEPTH, "f") != []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "line 1: expected the node content"),
        ("a: b: c", "line 1: mapping values are not allowed here"),
        ("a: 1\n---\nb: 2", "line 2: but found another document"),
        ("a: 1\nb: 2\na: 3", "line 3: duplicate key 'a'; remove one"),
        ("a: \x00", "special characters are not allowed"),
        # keys that are not text
        ("1: a", "key '1' is not a text; put it in quotes"),
        ("yes: a", "key 'yes' is not a text"),
        ("~: a", "key '~' is not a text"),
        ("2024-01-01: a", "key '2024-01-01' is not a text"),
        ("[a]: b", "key in brackets is not a text"),
        ("? {a: b}\n: c", "key in brackets is not a text"),
        (f"{'a' * 201}: b", f"key '{'a' * 37}...' has more than 200 characters"),
        # tags
        ("a: !!python/object/apply:os.system [ls]", "tag 'tag:yaml.org,2002:python/object/apply:os.system'; remove it"),
        ("a: !!int x", "tag 'tag:yaml.org,2002:int'; remove it"),
        ("a: !!binary x", "tag 'tag:yaml.org,2002:binary'"),
        ("!!set {a, b}", "tag 'tag:yaml.org,2002:set'"),
        ("a: !mine x", "tag '!mine'"),
        ("a: =", "could not determine a constructor"),
        # dates
        ("a: 2024-02-30", "'2024-02-30' is a date; put it in quotes"),
        ("a: 2024-02-03", "'2024-02-03' is a date; put it in quotes"),
        ("a: 2024-99-99 99:99:99", "is a date"),
        # numbers
        (f"a: {2**63}", "number '9223372036854775808' has more than 64 bits"),
        ("a: " + "9" * 10_000, "has more than 64 bits"),
        ("a: -0x" + "f" * 30, "has more than 64 bits"),
        ("a: 1e999", "number '1e999' is too large"),
        ("a: 0x_", "not YAML"),
        # aliases and depth
        ("a: &a [*a]", "an alias to the value that contains it"),
        ("&a {b: {c: *a}}", "an alias to the value that contains it"),
        ("a: *b", "found undefined alias"),
        (BOMB, "more than 100,000 values"),
        ("[" * 33 + "]" * 33, "nested deeper than 32 levels"),
        ("[" * 20_000, "nested deeper than 32 levels"),
        ("{a: " * 20_000, "nested deeper than 32 levels"),
        ("- " * 20_000, "nested deeper than 32 levels"),
        # escapes
        ('a: "\\ud800"', "half of a surrogate pair"),
        ('a: "\\UFFFFFFFF"', "not YAML"),
    ],
)
def test_anything_else_ends_in_one_line(text: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        yaml.load(text, "run.yaml")
    message = str(caught.value)
    assert message.startswith("run.yaml: not YAML: ")
    assert problem in message
    assert "\n" not in message
    assert len(message) < 300


def test_noise_is_read_or_refused() -> None:
    """No other exception, whatever the characters."""
    draw = random.Random(0)
    alphabet = "&*!|>%@`?:-{}[],#'\"\\<=~ \n\t0123456789.eE_xobTZ" + string.ascii_lowercase
    refusals = []
    for _ in range(1000):
        text = "".join(draw.choices(alphabet, k=draw.randrange(1, 24)))
        try:
            yaml.load(text, "f")
        except InputError as error:
            refusals.append(str(error))
    assert 100 < len(refusals) < 1000
    assert [message for message in refusals if "\n" in message] == []


@pytest.mark.parametrize(
    "values",
    [
        {"b": 1, "a": {"c": [1.5, 1e-7, 1e300, float("inf")], "d": None, "e": True}},
        {"a": ["1e-3", "2024-01-01", "1", "yes", "", "ä", "a: b", "x\ny", "~", "1_0"]},
        {"a": {}, "b": [], "long": "word " * 100},
    ],
)
def test_what_is_written_is_read_back(values: dict[str, object]) -> None:
    text = yaml.dump(values)
    assert yaml.load(text, "f") == values
    assert list(yaml.load(text, "f")) == list(values)


def test_shared_values_are_written_out() -> None:
    shared = [1]
    assert "&" not in yaml.dump({"a": shared, "b": shared})
