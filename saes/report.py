"""The saved report of a training run: one HTML page with plots, which opens without a network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from saes.trainee import TrainingProgress

__all__ = ["write_report"]

CURVES = {"loss": "loss", "explained_variance": "explained variance", "l0": "L0", "dead": "dead latents"}
TITLES = (*CURVES.values(), "density of the latents, held-out")


def write_report(path: Path, title: str, history: Sequence[TrainingProgress], density: np.ndarray) -> None:
    """Writes an HTML page with a training run's curves and the density histogram of its latents.

    Args:
        path: The HTML file to write.
        title: Title of the page's figure.
        history: Progress reports of one SAE, in the order of its steps.
        density: [d_sae] share of held-out tokens on which each latent is active, in [0, 1].
    """
    from plotly.graph_objects import Histogram, Scatter
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=3, cols=2, subplot_titles=TITLES, vertical_spacing=0.1)
    steps = [each.step for each in history]
    for i, (field, name) in enumerate(CURVES.items()):
        line = Scatter(x=steps, y=[getattr(each, field) for each in history], name=name, mode="lines")
        figure.add_trace(line, row=1 + i // 2, col=1 + i % 2)
        figure.update_xaxes(title_text="step", row=1 + i // 2, col=1 + i % 2)
    figure.add_trace(Histogram(x=np.log10(density[density > 0]), nbinsx=40, name="latents"), row=3, col=1)
    figure.update_xaxes(title_text="log10 P(a > 0)", row=3, col=1)
    figure.update_yaxes(type="log", row=1, col=1)
    figure.update_layout(title=title, showlegend=False, height=1000, template="plotly_white")
    figure.write_html(path, include_plotlyjs=True)
