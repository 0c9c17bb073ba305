"""The results of `centernet aot compile`, for people."""

from typing import Any


def fit_table(report: dict[str, Any]) -> str:
    """One line per topology and batch."""
    lines = [
        f"{'topology':10} {'cores':>5} {'per core':>8} {'global':>7}  {'fits':4} {'HBM peak / core':>19} "
        f"{'TFLOP/step':>10} {'ms at peak':>10}"
    ]
    for row in report["results"]:
        memory = f"{row['peak_bytes'] / 2**30:.2f} / {row['hbm_bytes'] / 2**30:.0f} GiB" if row["fits"] else "too much"
        rest = f"{row['flops'] / 1e12:10.2f} {1e3 * row['least_seconds']:10.1f}" if row["fits"] else ""
        lines.append(
            f"{row['topology']:10} {row['cores']:5} {row['batch_per_core']:8} {row['global_batch']:7}  "
            f"{'yes' if row['fits'] else 'no':4} {memory:>19} {rest}".rstrip()
        )
    return "\n".join(lines)


def sentence(row: dict[str, Any]) -> str:
    """One line about one compilation."""
    where = f"{row['topology']} ({row['device']}), {row['batch_per_core']} images per core"
    if not row["fits"]:
        return f"{where}: does not fit: {row['reason']}"
    return f"{where}: fits, {row['peak_bytes'] / 2**30:.2f} GiB at the peak, compiled in {row['seconds']:.0f} s"


def conclusions(report: dict[str, Any]) -> list[str]:
    """One line per topology: the largest of its batches that fits, and whether the configuration's batch does."""
    lines = []
    for topology in dict.fromkeys(row["topology"] for row in report["results"]):
        rows = [row for row in report["results"] if row["topology"] == topology]
        fitting = [row for row in rows if row["fits"]]
        too_large = min((row["batch_per_core"] for row in rows if not row["fits"]), default=None)
        if not fitting:
            found = "none fits"
        else:
            most = max(fitting, key=lambda row: int(row["batch_per_core"]))
            found = f"{most['batch_per_core']} images per core fit" + (f" and {too_large} do not" if too_large else "")
            found += f", a global batch of {most['global_batch']} on its {most['cores']} cores"
        lines.append(f"result: {topology}: of the batches tried, {found}; {_own(report['configured_batch'], rows)}")
    return lines


def _own(batch: int, rows: list[dict[str, Any]]) -> str:
    """What the rows of one topology show about the configuration's global batch."""
    cores = rows[0]["cores"]
    if batch % cores:
        return f"the configuration's {batch} is not a multiple of its {cores} cores"
    share = batch // cores
    if any(row["fits"] and row["batch_per_core"] >= share for row in rows):
        return f"the configuration's {batch}, {share} per core, fits"
    if any(not row["fits"] and row["batch_per_core"] <= share for row in rows):
        return f"the configuration's {batch}, {share} per core, does not fit"
    return f"the configuration's {batch} was not tried; add --batch {share}"
