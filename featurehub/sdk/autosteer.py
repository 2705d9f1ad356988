"""Edits in place of an instruction, and conditions in place of words: ``autosteer`` and ``autoconditional``."""

import html
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, TypeVar, Unpack

from openai import AsyncOpenAI, OpenAI

from featurehub.autosteer import AutoconditionalResult, AutosteerResult, Outcome
from featurehub.sdk.errors import own_errors
from featurehub.sdk.notices import warnings_of
from featurehub.sdk.tables import table

__all__ = [
    "AsyncAutoFeatures", "AutoFeatures", "Autoconditional", "AutoconditionalOptions", "Autosteer", "AutosteerOptions",
]  # fmt: skip

AUTOSTEER, AUTOCONDITIONAL = "/features/autosteer", "/features/autoconditional"
MEASURED = ("unsteered", "prompting", "steered", "both", "chance")
Chat = Sequence[Mapping[str, Any]]


class AutosteerOptions(TypedDict, total=False):
    """What ``autosteer`` asks for.

    Attributes:
        model: As in a chat completion.
        sae: The only SAE whose features may be used, by its id, name or alias; by default all that are served.
        prompts: What is answered meanwhile, 10 to 96, three fifths of which measure; best if they ask for nothing
            special.
        candidates: How many features are tried alone, in [1, 32].
        max_tokens: Longest answer, in [8, 256].
        temperature: Of sampling.
        max_perplexity: How many times that of unsteered answers the perplexity of steered ones may be.
        seed: Decides what is drawn.
    """

    model: str
    sae: str
    prompts: Sequence[str]
    candidates: int
    max_tokens: int
    temperature: float
    max_perplexity: float
    seed: int


class AutoconditionalOptions(TypedDict, total=False):
    """What ``autoconditional`` asks for.

    Attributes:
        examples: Chats in which the conditions should hold, at least 4; by default the model writes some.
        others: Chats in which they should not; by default the model's answers to prompts that ask for nothing.
        model: As in a chat completion.
        sae: The only SAE whose features may be used, by its id, name or alias; by default all that are served.
        max_conditions: How many conditions are returned at most, of which one is enough, in [1, 8].
        seed: Decides what the model writes.
    """

    examples: Sequence[Chat]
    others: Sequence[Chat]
    model: str
    sae: str
    max_conditions: int
    seed: int


class Autosteer(AutosteerResult):
    """What ``autosteer`` found: ``features=found.features`` steers by it. Jupyter shows it as tables.

    >>> found = client.features.autosteer("be concise", candidates=4)
    >>> why = found.reason if not found.edits else found.steered.effect

    Attributes:
        warnings: What the server warned of.
    """

    warnings: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        edits = table(("feature", "weight"), ((each.label or each.id, f"{each.weight:+.2f}") for each in self.edits))
        measured = ((name, getattr(self, name)) for name in MEASURED)
        rows = ((name, *numbers(each)) for name, each in measured if each is not None)
        return (
            f"{edits}<p>{html.escape(self.reason)}</p>{table(('answers', 'effect', 'perplexity', 'repetition'), rows)}"
        )


class Autoconditional(AutoconditionalResult):
    """What ``autoconditional`` found: ``found.when`` is the condition of an edit. Jupyter shows it as a table.

    >>> found = client.features.autoconditional("when the user talks about banking")
    >>> variant = Variant("demo").abort_when(found.when, "bank")

    Attributes:
        warnings: What the server warned of.
    """

    warnings: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        rows = ((each.label or each.feature, each.op.value, f"{each.value:.3f}") for each in self.conditions)
        said = f"{self.reason} accuracy on held-out chats {self.accuracy:.2f}".strip()
        return f"{table(('feature', '', 'value'), rows)}<p>{html.escape(said)}</p>"


K = TypeVar("K", Autosteer, Autoconditional)


class AutoFeatures:
    """Features that the server finds by what they do.

    >>> found = client.features.autosteer("be concise")
    """

    _client: OpenAI

    def autosteer(self, instruction: str, **options: Unpack[AutosteerOptions]) -> Autosteer:
        """Edits that do what an instruction asks. The server draws some hundred answers, which may take minutes.

        >>> found = client.features.autosteer("be concise")
        >>> answer = client.chat.completions.create(model="demo", messages=chat, features=found.features)

        Args:
            instruction: What answers should be like, as one would tell the model: "be concise".
            options: What is asked for; see ``AutosteerOptions``.

        Returns:
            The edits with their effect, beside prompting, both together and chance; none, with the reason, where
            nothing beats chance.
        """
        return self._found(AUTOSTEER, Autosteer, {"instruction": instruction, **options})

    def autoconditional(self, condition: str, **options: Unpack[AutoconditionalOptions]) -> Autoconditional:
        """Conditions that hold in chats of one kind.

        >>> found = client.features.autoconditional("when the user talks about banking")
        >>> variant = Variant("demo").set("formal", 0.5, when=found.when)

        Args:
            condition: What the chats have in common: "when the user talks about banking".
            options: What is asked for; see ``AutoconditionalOptions``.

        Returns:
            The conditions with their accuracy on held-out chats; none, with the reason, where that is no better than
            chance.
        """
        return self._found(AUTOCONDITIONAL, Autoconditional, {"condition": condition, **options})

    def _found(self, path: str, kind: type[K], body: Mapping[str, object]) -> K:
        with own_errors():
            return read(kind, self._client.post(path, body=body, cast_to=object))


class AsyncAutoFeatures:
    """``AutoFeatures`` for asyncio.

    >>> found = await client.features.autosteer("be concise")
    """

    _client: AsyncOpenAI

    async def autosteer(self, instruction: str, **options: Unpack[AutosteerOptions]) -> Autosteer:
        """See ``AutoFeatures.autosteer``.

        >>> found = await client.features.autosteer("be concise")
        >>> answer = await client.chat.completions.create(model="demo", messages=chat, features=found.features)
        """
        return await self._found(AUTOSTEER, Autosteer, {"instruction": instruction, **options})

    async def autoconditional(self, condition: str, **options: Unpack[AutoconditionalOptions]) -> Autoconditional:
        """See ``AutoFeatures.autoconditional``.

        >>> found = await client.features.autoconditional("when the user talks about banking")
        >>> variant = Variant("demo").set("formal", 0.5, when=found.when)
        """
        return await self._found(AUTOCONDITIONAL, Autoconditional, {"condition": condition, **options})

    async def _found(self, path: str, kind: type[K], body: Mapping[str, object]) -> K:
        with own_errors():
            return read(kind, await self._client.post(path, body=body, cast_to=object))


def read(kind: type[K], body: Any) -> K:
    """What the server has answered. Unknown keys are left out, since a newer server may send more."""
    return kind.model_validate(body | {"warnings": warnings_of(body)}, extra="ignore")


def numbers(outcome: Outcome) -> tuple[str, str, str]:
    effect = f"{outcome.effect:+.3f} ± {outcome.error:.3f}"
    return effect, f"{outcome.perplexity:.3g}", f"{outcome.repetition:.2f}"
