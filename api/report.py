"""Whether a request's steering really ran, by what the worker counted."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from featurehub.conditions import Positions
from featurehub.edits import Steering
from featurehub.errors import SteeringLost
from featurehub.report import SteerReport

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
    nothing_due = steering.positions is Positions.GENERATED
    if steering.edits and not (report.complete and (report.seen_tokens > 0 or nothing_due)):
        raise SteeringLost(
            f"the hooks ran over {report.seen_tokens} of {report.expected_tokens} tokens; the answer is withheld. "
            "Try again; if it stays, restart the server."
        )
    if steering.reads and (report.activations is None or report.reads_lost):
        raise SteeringLost("the activations were dropped, since too many answers wait for theirs; send fewer at once")
    return report
