"""Tables and marked texts for notebooks, as HTML that needs no network."""

import html
from collections.abc import Iterable, Sequence

__all__ = ["marked", "table"]


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """A table. Numbers show three digits, and None is empty."""
    lines = [f"<tr>{''.join(f'<th>{html.escape(head)}</th>' for head in heads)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{shown(value)}</td>' for value in row)}</tr>" for row in rows]
    above = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{above}{''.join(lines)}</table>"


def marked(texts: Sequence[str], strengths: Sequence[float], titles: Sequence[str]) -> str:
    """A text whose pieces lie on a ground of a color that grows with their strengths, blue above 0 and orange below."""
    most = max(map(abs, strengths), default=0.0) or 1.0
    grounds = [
        f"title='{html.escape(title, True)}' style='background: {color(strength / most)}'"
        for strength, title in zip(strengths, titles, strict=True)
    ]
    pieces = [f"<span {ground}>{html.escape(text)}</span>" for ground, text in zip(grounds, texts, strict=True)]
    return f"<div style='white-space: pre-wrap'>{''.join(pieces)}</div>"


def color(strength: float) -> str:
    """Of a strength in [-1, 1]."""
    hue = "0, 114, 178" if strength >= 0 else "213, 94, 0"
    return f"rgba({hue}, {0.6 * abs(strength):.2f})"


def shown(value: object) -> str:
    if value is None:
        return ""
    return html.escape(f"{value:.3g}" if isinstance(value, float) else str(value))
