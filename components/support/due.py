"""The stage `training due`: from what was watched, the last completed run and the champion's age to a decision."""

from trainer.config.sections import parse_config
from trainer.promotion.due import NAME, Due, days_since, decide, read_watched, write_due
from trainer.promotion.last_run import read_last
from trainer.promotion.outcome import write_said
from trainer.registry.uri import open_registry


def judge(
    watched: str,
    version: str,
    run: dict[str, str],
    config: str,
    output: str,
    *,
    registry: str,
    pipeline_root: str,
    job: str,
) -> bool:
    """Whether a training is due. Writes `due.json`, and for the alert what watching said.

    Args:
      watched: URI of `watched.json`.
      version: the champion; "" for none.
      run: identity of the training that would follow.
      config: the run's YAML text.
      output: the stage's folder.
      registry, pipeline_root: where the last completed run is noted.
      job: the run's id, if there is an alert, else "".
    """
    said, last = read_watched(watched), read_last(registry, pipeline_root)
    days = None
    if version:
        days = days_since(open_registry(registry).version(version).created, last.ended if last else "")
    settings = parse_config(config).watch
    if version and days is None and settings.max_age_days:
        print(f"note: {version} has no date, so its age does not count", flush=True)
    changed = None if last is None else last.changed(run)
    train, why = decide(said.verdict, changed, days, settings)
    write_due(Due(train=train, why=why, watched=said), f"{output}/{NAME}")
    write_said(said.said, said.page, pipeline_root, job)
    print(f"result: {'yes' if train else 'no'}: {why}", flush=True)
    return train
