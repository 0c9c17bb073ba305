import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.format import records
from beam_preprocess.format.geometry import View
from beam_preprocess.format.images import encode_jpeg
from beam_preprocess.format.targets import assign_targets, code_table
from tests.trainer.made_records import CUTOFF, write_records
from trainer.data.parsing import RecordParser

SIDE = 1040
"""Of an input whose map has more cells than a uint16 counts."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[RecordParser, bytes]:
    """The parser for records of this input, and one of them, with an object in the last rows."""
    boxes = np.array([[SIDE - 30.0, SIDE - 90.0, SIDE - 10.0, SIDE - 10.0]], np.float32)
    targets = assign_targets(boxes, np.array([2]), np.zeros(1, bool), image_size=(SIDE, SIDE), stride=4, cutoff=CUTOFF)
    whole = (0, 0, SIDE, SIDE)
    record = records.Record(
        image=encode_jpeg(np.zeros((SIDE, SIDE, 3), np.uint8), 90),
        image_id=7,
        image_size=(SIDE, SIDE),
        view_number=0,
        view=View(source=whole, valid=whole),
        targets=targets,
    )
    map_size = SIDE // 4, SIDE // 4
    serialized = records.encode(record, map_size, len(code_table(map_size, CUTOFF).values))
    manifest = write_records(tmp_path_factory.mktemp("records"), 2)
    manifest = dataclasses.replace(
        manifest,
        parameters={**manifest.parameters, "image_size": [SIDE, SIDE]},
        max_cells=len(targets.cell_index) + 3,
        max_objects=2,
    )
    return RecordParser(manifest, crowd_is_object=False), serialized


def test_a_map_of_more_than_65536_cells(large: tuple[RecordParser, bytes]) -> None:
    """Its indices are stored as uint32, which TensorFlow doesn't read."""
    parser, serialized = large
    assert records.index_dtype((SIDE // 4, SIDE // 4)).itemsize == 4
    dataset = tf.data.Dataset.from_tensors(serialized).map(parser.record)
    dataset = dataset.batch(1, drop_remainder=True).map(parser.batch)
    assert all(part.shape.is_fully_defined() for part in tf.nest.flatten(dataset.element_spec)), "as TPUs need it"
    ((image, labels),) = dataset
    assert image.shape == (1, SIDE, SIDE, 3)
    centre = labels.object_cell.numpy()[0, 0]
    assert centre == (SIDE - 20) // 4 * (SIDE // 4) + (SIDE - 50) // 4
    peak = labels.cell_value.numpy()[0].argmax()
    assert labels.cell_index.numpy()[0, peak] == centre > 1 << 16
    assert labels.cell_class.numpy()[0].tolist()[-4:] == [2, 0, 0, 0], "padding has class 0"
    assert labels.cell_value.numpy()[0].tolist()[-3:] == [0, 0, 0]
    assert labels.object_mask.numpy().tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("feature", "change", "message"),
    [
        (records.CELL_INDEX, lambda stored: stored * 2, "a record is longer than its"),
        (records.CELL_CODE, lambda stored: stored * 2, "a record is longer than its"),
        (records.CELL_INDEX, lambda stored: stored[:-2], "a record has a part of a number"),  # of a uint32
        (records.CELL_CODE, lambda stored: stored[:-1], "a record has a part of a number"),
        (records.OBJECT_CELL, lambda stored: stored * 3, "a record is longer than its"),
        (records.OBJECT_SIZE, lambda stored: stored * 3, "a record is longer than its"),
    ],
)
def test_numbers_of_one_record_never_become_anothers(
    large: tuple[RecordParser, bytes], feature: str, change: Callable[[bytes], bytes], message: str
) -> None:
    """Both records have the same wrong length, so that parts of numbers add up to a whole one."""
    parser, serialized = large
    found = tf.nest.map_structure(lambda part: tf.stack([part, part]), parser.record(tf.constant(serialized)))
    assert parser.batch(found)[1].object_mask.numpy().tolist() == [[1, 0]] * 2
    found[feature] = tf.constant([change(found[feature].numpy()[0])] * 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{feature}: {message}"):
        parser.batch(found)
