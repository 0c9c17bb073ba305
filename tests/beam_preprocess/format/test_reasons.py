"""The list of reason codes, and the reject lines."""

import json
import pickle

from beam_preprocess.format.reasons import Action, Reason, Reject, UnusableFile, count_by_reason

FILE = {"empty_file", "not_json", "truncated_file", "missing_section", "malformed_file"}
BOX = {
    "wrong_length",
    "not_finite",
    "duplicate_annotation",
    "unknown_image",
    "unknown_category",
    "non_positive_side",
    "outside_image",
    "clipped_to_image",
    "box_too_small",
}


def test_every_reason_has_an_action_and_a_subject() -> None:
    assert {r.value for r in Reason if r.of_file} == {r.value for r in Reason if r.action is Action.REFUSED} == FILE
    assert {r for r in Reason if r.action is Action.CLIPPED} == {Reason.CLIPPED_TO_IMAGE}
    assert all((reason.action is Action.CONVERTED) == reason.value.startswith("converted_") for reason in Reason)
    assert {r.value for r in Reason if r.of_box} == BOX


def test_reject_lines_come_back() -> None:
    reject = Reject(reason=Reason.NOT_FINITE, image_id=3, annotation_id=4, file_name="a.jpg", detail="bbox [nan]")
    assert reject.to_mapping()["action"] == "dropped"
    assert Reject.from_mapping(json.loads(json.dumps(reject.to_mapping()))) == reject
    assert str(reject) == "image 3 (a.jpg), annotation 4: bbox [nan]"
    assert count_by_reason([reject, reject]) == {"not_finite": 2}


def test_a_line_of_a_file_has_no_image() -> None:
    reject = Reject(reason=Reason.NOT_JSON, image_id=0, file_name="a.json")
    assert (reject.to_mapping()["image_id"], reject.to_mapping()["action"]) == (None, "refused")
    assert Reject.from_mapping(reject.to_mapping()) == reject


def test_an_unusable_file_keeps_its_reason_between_processes() -> None:
    error = pickle.loads(pickle.dumps(UnusableFile(Reason.EMPTY_FILE, "a.json: the file is empty")))
    assert (error.reason, str(error)) == (Reason.EMPTY_FILE, "a.json: the file is empty")
