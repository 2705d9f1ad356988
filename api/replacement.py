"""Answers over which the weights were replaced: by the time that the engine computed them, or in the middle.

Names were resolved, and states looked up, for the weights that the server knew of. What the worker reports says which
ones computed the answer. Where these are others, nothing of what was looked up holds: no feature is called fresh, and
the answer says why, or is withheld where the server refuses what was not checked.
"""

from collections.abc import Sequence
from typing import TypeVar

from api.plan import Plan
from featurehub.answers import AnswerReport, Applied, Notice
from featurehub.errors import StaleFeature
from featurehub.features import State
from featurehub.report import SteerReport

__all__ = ["as_computed"]

A = TypeVar("A", bound=Applied)
REPLACED = (
    "the model's weights were replaced before this answer was whole: whether its features still mean what they say was "
    "not checked on the new ones"
)


def as_computed(answer: AnswerReport, plan: Plan, reports: Sequence[SteerReport]) -> AnswerReport:
    """An answer as it may be given, whichever weights computed it.

    Args:
        answer: What was applied.
        plan: What it was planned for.
        reports: What the worker says of each of its answers.

    Raises:
        StaleFeature: Other weights computed it, and the request or the server refuses what was not checked.
    """
    if not passed_over(plan, reports):
        return answer
    if plan.refuses(State.UNCHECKED):
        raise StaleFeature(
            f"{REPLACED}; the answer is withheld. Try again, or ask for unchecked features with a warning"
        )
    notice = Notice(code="weights_replaced", message=REPLACED)
    choices = tuple(unchecked(each) for each in answer.choices)
    return unchecked(answer).model_copy(update={"warnings": (*answer.warnings, notice), "choices": choices})


def passed_over(plan: Plan, reports: Sequence[SteerReport]) -> bool:
    """Whether other weights than those of the plan computed some of the tokens."""
    known = plan.served.loaded
    return bool(known) and plan.reaches_engine and any(set(each.weights) != {known} for each in reports)


def unchecked(applied: A) -> A:
    state = {"state": State.UNCHECKED}
    edits = tuple(each.model_copy(update=state) for each in applied.applied)
    return applied.model_copy(
        update={"applied": edits, "saes": tuple(each.model_copy(update=state) for each in applied.saes)}
    )
