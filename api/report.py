"""Whether a request's steering really ran, by what the worker counted."""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import ValidationError

from api.choices import Choices
from featurehub.conditions import Positions
from featurehub.edits import Steering
from featurehub.errors import SteeringLost
from featurehub.report import SteerReport, Wire

__all__ = ["read_report", "read_reports"]

ONE = Choices()


def read_report(raw: Sequence[Wire], steering: Steering, hooks: Mapping[str, str]) -> SteerReport:
    """The report of a steering with one answer; see ``read_reports``."""
    [report] = read_reports(raw, steering, hooks)
    return report


def read_reports(
    raw: Sequence[Wire], steering: Steering, hooks: Mapping[str, str], choices: Choices = ONE
) -> list[SteerReport]:
    """The worker's reports of the answers, once they are known to account for all that was asked, at every token.

    Args:
        raw: What the worker sent; nothing where it had nothing.
        steering: What the request asked for.
        hooks: By SAE of the steering, its hook point.
        choices: The answers, each of which must be reported.

    Returns:
        One for each of the answers, in their order.

    Raises:
        SteeringLost: A report is missing or unreadable, or does not account for an edit, an abort, a condition of one
            of these, or an activation that was to be read.
    """
    if not raw:
        raise SteeringLost("the engine has no report of this request, so it was not steered; the answer is withheld")
    reports = by_request(raw)
    for report in reports:
        if lost := report.lost(steering) or missing(report, steering, hooks):
            raise SteeringLost(f"{lost}; the answer is withheld. Try again; if it stays, restart the server.")
        if report.aborted is not None and not 0 <= report.aborted.index < len(steering.aborts):
            raise SteeringLost(f"the engine reports an abort that nobody asked for: {report.aborted.event!r}")
        check_readings(report, steering)
    return in_order(reports, choices)


def by_request(raw: Sequence[Wire]) -> list[SteerReport]:
    """The reports, those of one request (before and after it was preempted) added up. Raises SteeringLost."""
    found: dict[tuple[int, ...], SteerReport] = {}
    try:
        for each in map(SteerReport.model_validate, raw):
            found[each.requests] = found[each.requests] + each if each.requests in found else each
    except ValidationError as error:
        raise SteeringLost(f"the engine's report of this request cannot be read: {error}") from error
    return list(found.values())


def in_order(reports: Sequence[SteerReport], choices: Choices) -> list[SteerReport]:
    """The reports of all answers, in the order of these. Raises SteeringLost where one is missing or nobody's."""
    if sum(len(report.requests) for report in reports) != choices.requests:
        raise SteeringLost(f"the engine reports {len(reports)} of {choices.requests} answers; they are withheld")
    placed = {choices.place(report.id): report for report in reports}
    if placed.keys() != {*range(choices.requests)}:
        raise SteeringLost("the engine's reports do not say which answer each is of; they are withheld")
    return [placed[index] for index in range(choices.requests)]


def missing(report: SteerReport, steering: Steering, hooks: Mapping[str, str]) -> str:
    """What did not happen at one of the hook points; "" where everything did.

    Edits of generated positions alone need not run at all (``SteerReport.due``), but their hook point must report.
    """
    for hook in dict.fromkeys(hooks[edit.sae] for edit in steering.edits):
        counts = report.hooks.get(hook)
        if counts is None or not (counts.seen_tokens or steering.positions is Positions.GENERATED):
            return f"the edits at {hook} ran over no token"
    for hook in dict.fromkeys(hooks[condition.sae] for condition in steering.conditions()):
        if hook not in report.conditions:
            return f"the conditions at {hook} were decided at no token"
    return ""


def check_readings(report: SteerReport, steering: Steering) -> None:
    """Checks that the report reads every token of one request in each of the SAEs. Raises SteeringLost."""
    if not steering.reads:
        return
    if report.activations is None or report.reads_lost:
        raise SteeringLost("the activations were dropped, since too many answers wait for theirs; send fewer at once")
    blocks = report.activations.blocks
    named = {each.sae: set(each.latents) for each in steering.reads}
    read = sorted(each.sae for each in blocks) == sorted(named)
    if not (read and all(block.is_gapless and named[block.sae] <= block.distinct() for block in blocks)):
        raise SteeringLost("the activations are not those of every token of this request; they are withheld")
    asked = sorted((each.sae, covered(each.totals, len(blocks[0]))) for each in steering.reads if each.totals)
    if sorted((each.sae, each.tokens) for each in report.activations.totals) != asked:
        raise SteeringLost("the totals are not over every token of this request; they are withheld")


def covered(spans: Iterable[tuple[int, int]], tokens: int) -> int:
    """How many of the first ``tokens`` positions lie in some of these stretches."""
    return len({position for start, stop in spans for position in range(start, min(stop, tokens))})
