"""Component: the page for people, and the same facts for programs."""

from kfp import dsl


def report(
    outcome: str,
    data: dsl.Input[dsl.Artifact],
    train_records: dsl.Input[dsl.Dataset],
    checkpoint: dsl.Input[dsl.Model],
    model: dsl.Input[dsl.Model],
    candidate: dsl.Input[dsl.Artifact],
    champion: dsl.Input[dsl.Artifact],
    decision: dsl.Input[dsl.Artifact],
    images: str,
    annotations: str,
    config: str,
    html: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Artifact],
) -> str:
    """Collects what the stages wrote, from their folders. Returns the page's URI."""
    from components.support.stage import folder_of, stage

    with stage("report", html) as output:
        from components.support.report_inputs import collect
        from trainer.promotion.summary import write_summary
        from trainer.report.page import write_report

        stages = [data, train_records, checkpoint, model, candidate, champion, decision]
        run = collect(outcome, config, *stages)
        write_summary(run, f"{output}/summary.json")
        html.uri, summary.uri = f"{output}/report.html", f"{output}/summary.json"
        scored = {name: f"{folder_of(candidate)}/{name}.json" for name in ("predictions", "analysis")}
        write_report(run=run, annotations=annotations, images=images, output=html.uri, **scored)
        print(f"result: {html.uri}", flush=True)
    return html.uri
