"""The short table at the end of a run, from summary.json."""

from typing import Any

METRICS = {
    "AP": "ap",
    "AP50": "ap50",
    "AP75": "ap75",
    "APs": "ap_small",
    "APm": "ap_medium",
    "APl": "ap_large",
}


def comparison(summary: dict[str, Any]) -> str:
    """The metrics of candidate and champion, the gate's rules, and the decision with its reason."""
    champion = summary["champion"]
    lines = ["", f"{'':<12}" + "".join(f"{title:>8}" for title in METRICS)]
    lines.append(f"{'candidate':<12}" + _numbers(summary))
    if champion["status"] == "scored":
        lines.append(f"{'champion':<12}" + _numbers(champion["metrics"]) + f"   {champion['version']}")
    else:
        lines.append(f"{'champion':<12}   {champion['reason']}")
    lines += ["", f"{'rule':<14}{'value':>10}{'threshold':>12}"]
    for rule in summary["decision"]["rules"]:
        value, threshold = _short(rule["value"]), _short(rule["threshold"])
        verdict = "FAIL" if rule["status"] == "fail" else rule["status"]
        lines.append(f"{rule['name']:<14}{value:>10}{threshold:>12}  {verdict:<7}  {rule['sentence']}")
    lines += ["", f"decision  {summary['decision']['sentence']}", f"seconds   {summary['seconds']['total']:.1f}"]
    return "\n".join(lines)


def _numbers(metrics: dict[str, Any]) -> str:
    return "".join(f"{_short(metrics.get(name)):>8}" for name in METRICS.values())


def _short(value: float | int | str | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value) if len(str(value)) <= 10 else f"{str(value)[:7]}..."
