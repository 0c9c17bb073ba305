"""Component: the promoted version behind an endpoint of Vertex AI."""


def deploy(outcome: str, registry: str, plan: str, run_id: str) -> str:
    """Deploys the version that was promoted; only runs with a section `deploy:` have this step."""
    from components.support.stage import step

    with step("deploy"):
        from trainer.deployment.stage import deploy_promoted

        done = deploy_promoted(outcome, registry, plan, run_id)
        print(f"result: {done}", flush=True)
    return done
