"""Component: the run ends here, because nothing changed."""


def unchanged(pipeline_root: str, job: str) -> str:
    """Reports it, to the alert too if there is one (`job`: the run's id, else "")."""
    from components.support.stage import step

    outcome = "unchanged: data, configuration and image are the last completed run's"
    with step("nothing new"):
        from trainer.promotion.outcome import Ended, write_ended

        write_ended(Ended(outcome=outcome, report=""), pipeline_root, job)
        print("result: nothing changed, no model was trained", flush=True)
    return outcome
