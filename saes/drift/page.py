"""A drift report as one HTML page with plots and a table, which opens without a server and without a network.

Everything is a function of the report but its time, so that the same findings are the same page, byte for byte.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from featurehub.features import State
from featurehub.verdicts import DriftReport, FeatureVerdict

__all__ = ["page_of"]

COLORS = {State.FRESH: "#2a9d5c", State.SUSPECT: "#d98a00", State.STALE: "#c8372d", State.UNCHECKED: "#8a8f98"}
PLOTS = {
    "f1_fall_text": "fall of the label's F1 on the old canaries",
    "f1_fall_world": "fall of the label's F1 on the models' own answers",
    "correlation": "correlation of activations, old and new",
}
"""Titles by statistic."""
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1d2126 }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .3rem .6rem; vertical-align: top }
tr { border-top: 1px solid #e3e5e8 } .state { font-weight: 600 } .dim { color: #666c75 }
"""


def page_of(report: DriftReport) -> str:
    """The page as text."""
    counts = Counter(verdict.state for verdict in report.features)
    states = ", ".join(f"{counts[state]:,} {worded(state)}" for state in COLORS if counts[state])
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Drift report {escape(report.id)}</title><style>{STYLE}</style></head>
<body>
<h1>{stated(report.state)}: an SAE on {escape(report.model)}</h1>
<p>{escape(report.reason)}. {escape(states)}.</p>
<p class="dim">Report {escape(report.id)} on the SAE {report.artifact}, on the function {report.fingerprint}.</p>
{plots(report)}
<h2>The SAE as a whole</h2>
{table(("measured", "value"), ((escape(name), f"{value:.6g}") for name, value in report.metrics.items()))}
<h2>Features</h2>
{table(("feature", "latent", "state", "why", "evidence"), map(row, ordered(report.features)))}
</body>
</html>
"""


def ordered(verdicts: Iterable[FeatureVerdict]) -> list[FeatureVerdict]:
    """The verdicts by severity, then by latent."""
    severity = (State.STALE, State.SUSPECT, State.UNCHECKED, State.FRESH)
    return sorted(verdicts, key=lambda each: (severity.index(each.state), each.latent))


def row(verdict: FeatureVerdict) -> tuple[str, ...]:
    evidence = "<br>".join(
        f"{escape(each.statistic)} {each.value:.3f} (limit {each.threshold:g}, n {each.n:,})"
        for each in verdict.evidence
    )
    return escape(verdict.label), str(verdict.latent), stated(verdict.state), escape(verdict.reason), evidence


def stated(state: State) -> str:
    return f'<span class="state" style="color:{COLORS[state]}">{worded(state)}</span>'


def worded(state: State) -> str:
    return "not checked" if state is State.UNCHECKED else str(state)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table; the cells are HTML."""
    head = "".join(f"<th>{each}</th>" for each in heads)
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for cells in rows)
    return f"<table>\n<tr>{head}</tr>\n{body}\n</table>"


def plots(report: DriftReport) -> str:
    """A histogram of each statistic, by the state of the features; nothing where nothing was measured."""
    measured = [(verdict.state, each) for verdict in report.features for each in verdict.evidence]
    if not measured:
        return ""
    from plotly.graph_objects import Histogram
    from plotly.subplots import make_subplots

    figure: Any = make_subplots(rows=1, cols=len(PLOTS), subplot_titles=list(PLOTS.values()))
    for column, statistic in enumerate(PLOTS, 1):
        own = [(state, each) for state, each in measured if each.statistic == statistic]
        for state in COLORS:
            values = [each.value for found, each in own if found is state]
            marker, name = {"color": COLORS[state]}, worded(state)
            bars = Histogram(x=values, name=name, marker=marker, legendgroup=name, showlegend=column == 1)
            figure.add_trace(bars, row=1, col=column)
        for limit in {each.threshold for _, each in own}:
            figure.add_vline(x=limit, line_dash="dash", row=1, col=column)
    figure.update_layout(barmode="stack", height=380, template="plotly_white")
    return figure.to_html(full_html=False, include_plotlyjs=True, div_id="plots")
