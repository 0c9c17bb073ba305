"""Component: the last one, which says how the run ended, whatever happened to the others."""

from kfp import dsl


def alert(status: dsl.PipelineTaskFinalStatus, secret: str, pipeline_root: str, job: str, run: str) -> None:
    """Posts the outcome to the webhook whose address the secret holds. Kubeflow leaves `status` empty."""
    from components.support.stage import step

    with step("alert"):
        from components.support.alerts import send_outcome

        failure = f"{(status.state or 'failed').lower()}: {status.error_message or 'centernet status shows the task'}"
        send_outcome(secret, pipeline_root, job, run, failure)
