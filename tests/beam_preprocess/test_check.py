"""`centernet check`: its flags, exit codes and table. `test_bad_data.py` has the table of every reason."""

import json
import shlex
from typing import Any

import pytest

from beam_preprocess import check


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "give --images, --annotations and --split, or all of --train-images"),
        ("--images x --annotations x", "give --images, --annotations and --split"),
        ("--train-images x", "give --images, --annotations and --split"),
        ("--images x --annotations x --split val --train-images x", "give --images, --annotations and --split"),
        ("--images x --annotations nowhere.json --split val", "nowhere.json: no such annotation file"),
        ("--images x --annotations x --split val --num-workers 0", "--num-workers 0: use 1 or more"),
        ("--images x --annotations x --split val --stride 0", "preprocess.image_size"),
        ("--images x --annotations x --split val --config custom-smal", "config custom-smal: no such file"),
        ("--images x --annotations x --split val --set preprocess.stride=8", "give --config too"),
    ],
)
def test_what_cannot_be_checked_exits_with_2(arguments: str, message: str, capsys: Any) -> None:
    assert check.main(arguments.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error


@pytest.mark.parametrize("example", check.EXAMPLES)
def test_examples_parse(example: str) -> None:
    program, verb, *arguments = shlex.split(example)
    assert (program, verb) == ("centernet", "check")
    assert check._sources(check.parser().parse_args(arguments))


def both_splits(data: Any) -> list[str]:
    """The flags of two splits, whose images have other bytes."""
    images, annotations = data.images.with_name("val_images"), data.annotations.with_name("val.json")
    images.mkdir()
    for path in data.images.iterdir():
        images.joinpath(path.name).write_bytes(path.read_bytes() + b"\0")
    annotations.write_text(json.dumps({**data.content, "info": {"split": "val"}}))
    train = ["--train-images", str(data.images), "--train-annotations", str(data.annotations)]
    return [*train, "--val-images", str(images), "--val-annotations", str(annotations)]


def test_both_splits_at_once_with_a_shipped_configuration(data_set: Any, capsys: Any) -> None:
    assert check.main([*both_splits(data_set), "--config", "custom-small"]) == 0
    text = capsys.readouterr().out
    assert "train: 12 images, 17 objects" in text
    assert text.count("nothing to reject") == text.count("within the limits") == 2


def test_headers_only_says_so(data_set: Any, capsys: Any) -> None:
    path = data_set.images / "photo_003.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    source = ["--images", str(data_set.images), "--annotations", str(data_set.annotations), "--split", "val"]
    assert check.main([*source, "--headers-only"]) == 0
    assert "read only the headers, not the pixels" in capsys.readouterr().out
    assert check.main([*source, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["val"]["rejects"] == {"truncated_image": 1}
