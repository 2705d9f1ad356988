"""How many latents may stay without a label before a run ends with an error.

A latent that was looked at and is unclear is no failure.
"""

from collections.abc import Mapping

from featurehub.errors import BudgetExceeded
from featurehub.records import Unlabeled
from labeling.examiner import ScoredExplanation

__all__ = ["FailureBudget", "check_budget"]

LEAST = 20
"""Latents that are asked for before their failures can end a run."""


class FailureBudget:
    """Counts the failures of an explainer while it is asked, so that one that does not work is not asked for hours.

    Args:
        share: Largest share of the latents asked for that may fail.

    Attributes:
        asked: Latents that the explainer was asked for.
        failed: Those of them for which nothing came that could be scored.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.asked = self.failed = 0

    def count(self, scored: ScoredExplanation) -> None:
        """Counts one latent.

        Raises:
            BudgetExceeded: More failed than may.
        """
        outcome = scored.explanation.outcome
        if not scored.explanation.prompt:
            return
        self.asked += 1
        if isinstance(outcome, Unlabeled) and not scored.scores:
            self.failed += 1
            if self.asked >= LEAST and self.failed > self.share * self.asked:
                raise BudgetExceeded(
                    f"{self.failed} of {self.asked} latents stay without a label, more than the share of {self.share} "
                    f"that is allowed; the last: {outcome.reason}. What was found is kept; mend it, and start again"
                )


def check_budget(found: Mapping[int, ScoredExplanation], max_unlabeled: float) -> None:
    """Step 6. Raises BudgetExceeded."""
    outcomes = [each.explanation.outcome for each in found.values() if not each.scores]
    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, Unlabeled)]
    if len(reasons) > max_unlabeled * len(found):
        raise BudgetExceeded(
            f"{len(reasons)} of {len(found)} live latents stay without a label, more than the share of {max_unlabeled} "
            f"that is allowed; the first: {reasons[0]}. Give more documents, or raise max_unlabeled."
        )
