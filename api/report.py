"""Whether a request's steering really ran, by what the worker counted."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from featurehub.engine.report import SteerReport
from featurehub.errors import SteeringLost
from featurehub.features import Positions, Steering

__all__ = ["read_report"]


def read_report(raw: Mapping[str, Any] | None, steering: Steering) -> SteerReport:
    """The worker's counts, when they account for every token that should have been steered.

    Raises SteeringLost where the report is missing, unreadable, or counts fewer tokens. None at all is right only for
    edits of generated positions, where the answer ended with its first token.
    """
    if raw is None:
        raise SteeringLost("the engine has no report of this request, so it was not steered; the answer is withheld")
    try:
        report = SteerReport.model_validate(raw)
    except ValidationError as error:
        raise SteeringLost(f"the engine's report of this request cannot be read: {error}") from error
    nothing_due = steering.positions is Positions.GENERATED and report.expected_tokens == 0
    complete = report.steered_tokens == report.expected_tokens and (report.steered_tokens > 0 or nothing_due)
    if steering.edits and not complete:
        raise SteeringLost(
            f"{report.steered_tokens} of {report.expected_tokens} tokens were steered; the answer is withheld. "
            "Try again; if it stays, restart the server."
        )
    return report
