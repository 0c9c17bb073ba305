"""Model Garden's modes: which folders each mode reads, and what it runs."""

import json

from beam_preprocess.base.errors import InputError
from trainer.config.overrides import with_runtime
from trainer.config.records import configured_folders
from trainer.config.sections import parse_config
from trainer.data import input_pipeline
from trainer.training import run as training
from trainer.training.checkpoint_evaluation import evaluate_checkpoints


def run(
    mode: str,
    *,
    model_dir: str,
    config: str,
    records: str = "",
    val_records: str = "",
    params_override: str = "",
    tpu: str = "",
    seed: int = 0,
) -> None:
    """Trains, or evaluates the checkpoints of a training and prints the newest result.

    Args:
      mode: train, train_and_eval, eval or continuous_eval.
      model_dir: model folder.
      config: YAML text of the run's configuration.
      records: folder of training records; "" takes `task.train_data.input_path`.
      val_records: folder of validation records; "" takes `task.validation_data.input_path`.
      params_override: Model Garden's: `key=value,…` or YAML.
      tpu: train on this TPU; "" doesn't change `runtime`.
      seed: of the training.

    Raises:
      InputError: a folder that the mode needs is missing, or one is given that it doesn't read; and as `run.train`
        and `checkpoint_evaluation.evaluate_checkpoints`.
    """
    override = with_runtime(params_override, distribution_strategy="tpu", tpu=tpu) if tpu else params_override
    configured = configured_folders(parse_config(config), override)
    records = _folder("--records", records, configured["records"], mode, needed="train" in mode)
    val_records = _folder("--val-records", val_records, configured["val_records"], mode, needed="eval" in mode)
    if "train" in mode:
        training.train(
            records=records,
            output=model_dir,
            config=config,
            seed=seed,
            val_records=val_records,
            params_override=override,
        )
        return
    manifest = input_pipeline.load_manifest(val_records)
    experiment = training.make_experiment(config, override, manifest, val_records, val_records, seed)
    row = evaluate_checkpoints(
        experiment, model_dir=model_dir, val_records=val_records, continuous=mode == "continuous_eval"
    )
    print(f"result: {json.dumps(row)}")


def _folder(flag: str, given: str, configured: str, mode: str, *, needed: bool) -> str:
    value = given or (configured if needed else "")
    if needed and not value:
        raise InputError(f"{flag}: mode {mode} needs it; give a folder of records")
    if value and not needed:
        raise InputError(f"{flag} {value}: mode {mode} doesn't read it; remove it")
    return value
