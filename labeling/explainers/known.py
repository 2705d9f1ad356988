"""Gives latents the labels that they have already, so that these are scored again; another explainer names the rest."""

from collections.abc import Mapping

from featurehub.records import Label
from labeling.evidence import Evidence
from labeling.explainer import Explainer, Explanation, Wants

__all__ = ["KnownLabels"]


class KnownLabels:
    """Proposes known labels.

    Attributes:
        method, model, wants, at_once: Those of the other explainer.
        labels: The known labels, by latent.
        others: Names the other latents.
    """

    def __init__(self, labels: Mapping[int, Label], others: Explainer) -> None:
        self.labels, self.others = labels, others
        self.method, self.model = others.method, others.model
        self.wants: Wants = others.wants
        self.at_once = others.at_once

    def prompt(self, evidence: Evidence) -> str:
        """What the other explainer would be given."""
        return self.others.prompt(evidence)

    async def explain(self, evidence: Evidence) -> Explanation:
        """The known label; where there is none, what the other explainer says."""
        if (label := self.labels.get(evidence.latent)) is not None:
            return Explanation(label, self.prompt(evidence), label.text)
        return await self.others.explain(evidence)
