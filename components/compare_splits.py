"""Component: do validation images look like training images? Asked before the training is paid for."""

from kfp import dsl


def compare_splits(records: str, data: dsl.Input[dsl.Artifact], pairs: dsl.Output[dsl.Artifact]) -> None:
    """Compares the fingerprints that preprocessing and the data check left, and lists the pairs that look alike."""
    from components.support.run_options import read_options
    from components.support.stage import stage

    place = pairs.uri
    with stage("compare-splits", pairs, title="compare the splits") as output:
        from components.support.near_duplicates import warn_of_near_duplicates

        warn_of_near_duplicates(records, data.uri, output, strict=read_options(place).strict)
