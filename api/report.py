"""Whether a request's steering really ran, by what the worker counted."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from featurehub.edits import Steering
from featurehub.errors import SteeringLost
from featurehub.report import SteerReport

__all__ = ["read_report"]


def read_report(raw: Mapping[str, Any] | None, steering: Steering) -> SteerReport:
    """The worker's counts, when they account for all that the request asked for, at every token.

    Raises SteeringLost where the report is missing, unreadable, or does not: edits, the conditions that they and aborts
    wait for, and aborts are each counted.
    """
    if raw is None:
        raise SteeringLost("the engine has no report of this request, so it was not steered; the answer is withheld")
    try:
        report = SteerReport.model_validate(raw)
    except ValidationError as error:
        raise SteeringLost(f"the engine's report of this request cannot be read: {error}") from error
    if lost := report.lost(steering):
        raise SteeringLost(f"{lost}; the answer is withheld. Try again; if it stays, restart the server.")
    if steering.reads and (report.activations is None or report.reads_lost):
        raise SteeringLost("the activations were dropped, since too many answers wait for theirs; send fewer at once")
    return report
