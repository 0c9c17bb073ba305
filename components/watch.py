"""Component: what the champion sees in new images, compared with its profile."""

from kfp import dsl


def watch(
    images: str,
    since: str,
    val_images: str,
    val_annotations: str,
    registry: str,
    version: str,
    status: str,
    reason: str,
    work_dir: str,
    preprocess_on: str,
    dataflow: str,
    beam_args: str,
    run_id: str,
    strict: bool,
    watched: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
) -> str:
    """Returns the verdict. `version`, `status` and `reason` are resolve_champion's; without a champion there is nothing
    to watch by. The validation images are for a version without a profile."""
    from components.support.run_options import RunOptions, write_options
    from components.support.stage import stage

    place, beam = watched.uri, {"preprocess_on": preprocess_on, "dataflow": dataflow, "beam_args": beam_args}
    write_options(RunOptions(work_dir=work_dir, strict=strict, **beam), place, run_id)
    with stage("watch", watched, ready="watched.json") as output:
        from components.support.watching import look

        new, validation = {"images": images, "since": since}, {"images": val_images, "annotations": val_annotations}
        found = look(new, validation, registry, (version, status, reason), place, output)
        page.uri = found.page
    return found.verdict
