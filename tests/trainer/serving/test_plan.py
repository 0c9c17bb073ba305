import pytest

from beam_preprocess.base.errors import InputError
from trainer.serving.plan import Plan, ServedClass, read_plan


def test_a_plan_survives_the_way_to_the_server() -> None:
    plan = Plan(
        model="a folder/é",
        version="v0001",
        name="centernet",
        classes=(ServedClass(category_id=7, name="“star”", score_threshold=0.25),),
        threshold_source="serving.json",
        socket=5,
        address="http://127.0.0.1:8080",
    )
    assert read_plan(plan.to_json()) == plan


def test_the_server_alone_says_how_to_start_it() -> None:
    with pytest.raises(InputError, match=r"standard input: not JSON .*; start it with `centernet serve`"):
        read_plan("")
