"""Component: the decision. It has one unnamed output, the only kind that kfp's local runner branches on reliably."""

from kfp import dsl


def gate(
    candidate: dsl.Input[dsl.Artifact],
    champion: dsl.Input[dsl.Artifact],
    champion_version: str,
    best: dsl.Input[dsl.Artifact],
    best_version: str,
    val_objects: int,
    config: str,
    decision: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.Markdown],
) -> str:
    """Judges the candidate by the `gate:` section. Returns "promote", "ask" (once somebody approves it) or "hold".
    `val_objects` is what the data check counted."""
    from components.support.stage import stage

    with stage("gate", decision) as output:
        from beam_preprocess.base.files import write_text
        from trainer.config.sections import parse_config
        from trainer.promotion.judge import judge

        judged = judge(
            candidate.uri,
            champion.uri,
            parse_config(config).gate,
            champion_version,
            best=best.uri,
            best_version=best_version,
            expected_objects=val_objects,
        )
        write_text(f"{output}/decision.json", judged.to_json())
        page.uri = f"{output}/decision.md"
        write_text(page.uri, judged.to_markdown())
        print(f"{judged.to_text()}\nresult: {judged.verdict}", flush=True)
    return "hold" if not judged.promote else "ask" if judged.gate.asks else "promote"
