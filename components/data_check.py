"""Component: can this data be trained and scored on, and which data is it?"""

from typing import NamedTuple

from kfp import dsl


def data_check(
    train_images: str,
    train_annotations: str,
    val_images: str,
    val_annotations: str,
    config: str,
    work_dir: str,
    report: dsl.Output[dsl.Artifact],
) -> NamedTuple("Digests", [("train_digest", str), ("val_digest", str)]):  # type: ignore[valid-type]
    """Checks both splits. The digests are part of the cache keys of later stages."""
    from components.support.stage import stage, strict

    with stage("data_check", report, work_dir, title="check the data") as output:
        import json

        from beam_preprocess.base.files import write_text
        from beam_preprocess.dataset.check import check_data
        from trainer.config.sections import parse_config

        found = check_data(
            train_images=train_images,
            train_annotations=train_annotations,
            val_images=val_images,
            val_annotations=val_annotations,
            config=parse_config(config).preprocess,
            strict=strict(),
        )
        write_text(f"{output}/data.json", json.dumps(found, indent=1))
        train, val, classes = found["train"], found["val"], len(found["categories"])
        counts = f"train {train['images']} images, {train['objects']} objects; val {val['images']} images, "
        print(f"result: {counts}{val['objects']} objects; {classes} classes", flush=True)
    return train["data_digest"], val["data_digest"]
