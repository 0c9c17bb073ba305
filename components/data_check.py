"""Component: can this data be trained and scored on, which data is it, and what does each later stage read?"""

from typing import NamedTuple

from kfp import dsl


def data_check(
    train_images: str,
    train_annotations: str,
    val_images: str,
    val_annotations: str,
    config: str,
    runtime: str,
    work_dir: str,
    preprocess_on: str,
    dataflow: str,
    beam_args: str,
    run_id: str,
    strict: bool,
    report: dsl.Output[dsl.Artifact],
) -> NamedTuple(  # type: ignore[valid-type]
    "Checked",
    [("train_digest", str), ("val_digest", str), ("val_objects", int)]
    + [(f"{stage}_config", str) for stage in ("preprocess", "train", "export", "gate")],
):
    """Checks both splits. The cached stages are keyed by what it hands out; `work_dir` and the rest only steer them."""
    from components.support.run_options import RunOptions, write_options
    from components.support.stage import stage

    place, data = report.uri, {"train_images": train_images, "train_annotations": train_annotations}
    data |= {"val_images": val_images, "val_annotations": val_annotations}
    beam = {"preprocess_on": preprocess_on, "dataflow": dataflow, "beam_args": beam_args}
    write_options(RunOptions(work_dir=work_dir, strict=strict, **beam), place, run_id)
    with stage("data_check", report, title="check the data") as output:
        from components.support.checked import check

        return check(data, config, runtime, place, output)
