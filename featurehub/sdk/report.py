"""What a steered answer says of itself, as typed values: ``report_of(answer)``."""

import html
from collections.abc import Iterator

from openai import BaseModel

from featurehub.answers import AnswerReport, Applied, TokenActivations
from featurehub.sdk.tables import marked, table

__all__ = ["Report", "report_of"]

NAMED = 3
"""Features of a token that its tooltip names."""


class Report(AnswerReport):
    """What was applied to an answer. Jupyter shows it as tables, and activations as tokens on a ground of their color.

    >>> answer = client.chat.completions.create(model="demo", messages=chat, features={"pirate": 0.7})
    >>> report = report_of(answer)
    >>> [(each.label, each.weight, each.clipped) for each in report.applied]
    [('pirate', 0.7, False)]
    """

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{html.escape(each.message)}</p>" for each in self.warnings)
        return "".join(map(shown, self.choices or (self,))) + said


def report_of(answer: BaseModel) -> Report | None:
    """The report of a steered answer, which openai's types have no name for; of openai's own client's answers, too.

    >>> answer = client.chat.completions.create(model="demo", messages=chat, features={"pirate": 0.7})
    >>> report_of(answer).applied[0].label
    'pirate'

    Args:
        answer: A chat completion, completion or response; of a stream, a chunk or an event.

    Returns:
        The report; None where the answer has none: nothing was asked for, or it is not the last part of a stream.
    """
    told = (getattr(answer, "response", answer).model_extra or {}).get("featurehub")
    return None if told is None else Report.model_validate(told, extra="ignore")


def shown(applied: Applied) -> str:
    """The tables of one answer."""
    rows = [
        (each.label or each.id, each.mode, f"{each.weight:+g}", each.dose, each.tokens, "yes" if each.clipped else None)
        for each in applied.applied
    ]
    ended = f"<p>ended by {html.escape(applied.aborted.event)}</p>" if applied.aborted else ""
    edits = table(("feature", "mode", "weight", "dose", "tokens", "clipped"), rows) if rows else ""
    return edits + ended + "".join(heat_maps(applied.activations or ()))


def heat_maps(tokens: "list[TokenActivations] | tuple[()]") -> Iterator[str]:
    """The tokens, for each SAE by their strongest activation."""
    for sae in dict.fromkeys(each["sae"] for each in tokens):
        own = [each for each in tokens if each["sae"] == sae]
        strengths = [max((each["activation"] for each in token["features"]), default=0.0) for token in own]
        yield marked([each["token"] for each in own], strengths, list(map(title, own)))


def title(token: TokenActivations) -> str:
    """What a token's tooltip says: its strongest features."""
    strongest = token["features"][:NAMED]
    return ", ".join(f"{each['label'] or each['id']} {each['activation']:.3g}" for each in strongest)
