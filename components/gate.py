"""Component: the decision. One unnamed bool, the only form of output that kfp's local runner branches on reliably."""

from kfp import dsl


def gate(
    candidate: dsl.Input[dsl.Artifact],
    champion: dsl.Input[dsl.Artifact],
    champion_version: str,
    config: str,
    work_dir: str,
    decision: dsl.Output[dsl.Artifact],
) -> bool:
    """Judges the candidate by the rules of the `gate:` section."""
    from components.stage import stage
    from trainer.config import parse_config
    from trainer.evaluation import Evaluation, read_evaluation
    from trainer.files import write_text
    from trainer.gate import decide, read_champion, table

    with stage("gate", decision, work_dir) as output:
        scored = read_evaluation(f"{candidate.uri}/evaluation.json")
        assert isinstance(scored, Evaluation), "a candidate that cannot be scored ends the run before the gate"
        judged = decide(
            scored,
            read_champion(f"{champion.uri}/evaluation.json"),
            parse_config(config).gate,
            champion_version,
        )
        write_text(f"{output}/decision.json", judged.to_json())
    print(table(judged))
    print(f"result: {'promote' if judged.promote else 'hold'}", flush=True)
    return judged.promote
