"""`featurehub drift check`: prints a drift report and the metrics behind it."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from featurehub.cli.colors import colored
from featurehub.cli.progress import output
from featurehub.features import State
from featurehub.verdicts import DriftReport, FeatureVerdict

__all__ = ["show", "write"]


def write(report: DriftReport, json: Path | None, html: Path | None) -> None:
    """Writes a report as JSON and as a page, without its time: the same findings make the same files.

    Args:
        report: The report.
        json: Where the JSON goes; None for nowhere.
        html: Where the page goes; None for nowhere.
    """
    from featurehub.artifacts.files import write_text
    from saes.drift.page import page_of

    if json is not None:
        write_text(json, report.model_copy(update={"created": ""}).model_dump_json(indent=2) + "\n")
    if html is not None:
        write_text(html, page_of(report))


def show(report: DriftReport, limit: int = 20) -> None:
    """Prints a report, with up to ``limit`` features that are not fresh, stale ones first."""
    output.print(Text.assemble(colored(report.state), f"  {report.reason}  ", (f"report {report.id}", "dim")))
    for name, value in report.metrics.items():
        output.print(f"  {name} {value:.4g}")
    flagged = [verdict for verdict in report.features if verdict.state is not State.FRESH]
    if flagged:
        output.print(table_of(sorted(flagged, key=lambda v: (v.state is not State.STALE, v.label))[:limit]))
    if len(flagged) > limit:
        output.print(f"  … and {len(flagged) - limit} more; --json FILE has them all")


def table_of(verdicts: list[FeatureVerdict]) -> Table:
    table = Table("feature", "state", "why", title="features that no longer hold")
    for verdict in verdicts:
        table.add_row(verdict.label, colored(verdict.state), verdict.reason)
    return table
