"""Names latents by asking a language model.

1. It is shown contexts from every quantile of the latent's strength, with the firing tokens marked and graded, and the
   tokens that the latent's decoder row promotes.
2. It answers with a name and words that such texts have, as structured output. What is not of that form is no label.
"""

from typing import Annotated

from pydantic import Field

from featurehub.names import single_spaced
from featurehub.records import Label, Unlabeled
from featurehub.settings import Frozen
from labeling.evidence import Evidence
from labeling.explainer import Explanation, Wants
from labeling.llm.client import Llm, NoReply
from labeling.llm.marks import graded

__all__ = ["LlmExplainer", "Naming"]

CONTEXTS, WORDS, PROMOTED = 16, 5, 10
NAME, WORD = r'^[^"\\\n]{1,60}$', r'^[^"\\\n]{1,30}$'
SYSTEM = """\
Inside a language model there is a detector that fires on certain text. Find out what it detects, and name it.

You are given texts in which it fires, the ones where it fires most first. A token on which it fires is written as
[[token|strength]], with a strength from 1 (weak) to 10 (strongest). You may also be given tokens that the detector
makes the model more likely to write next.

Look for what the strongest marks share that ordinary text lacks: a subject, a word and its forms, a grammatical role, a
tone, a format. Be as specific as all of the strong examples allow. A few weak marks may be noise.

Answer in JSON: "name" is two to five words, in lower case but for proper names, without commas, colons or brackets;
"words" are up to five single words that are typical of texts in which it fires."""


class Naming(Frozen):
    """The form of the answer.

    Attributes:
        name: A few words.
        words: Single words that say more.
    """

    name: str = Field(pattern=NAME)
    words: list[Annotated[str, Field(pattern=WORD)]] = Field(max_length=WORDS)


class LlmExplainer:
    """Names latents by asking a language model.

    Attributes:
        method: "llm-contexts".
        model: The model's name at its endpoint.
        wants: Contexts.
        at_once: As many as the endpoint may be asked at once.
    """

    method = "llm-contexts"

    def __init__(self, llm: Llm, contexts: int = CONTEXTS) -> None:
        self.llm = llm
        self.model, self.at_once = llm.config.model, llm.config.at_once
        self.wants = Wants(contexts=contexts)

    def prompt(self, evidence: Evidence) -> str:
        """What the model is told, system and user text."""
        return f"{SYSTEM}\n\n{question(evidence)}"

    async def explain(self, evidence: Evidence) -> Explanation:
        """The model's name for the latent; Unlabeled where it gave none.

        Raises:
            OutOfBudget: The budget is over.
            InvalidInput: The endpoint refuses the key, or knows no such model.
        """
        try:
            naming, text = await self.llm.ask(SYSTEM, question(evidence), Naming)
        except NoReply as error:
            return Explanation(Unlabeled(reason=error.reason), self.prompt(evidence), error.text)
        if not (name := single_spaced(naming.name)):
            return Explanation(Unlabeled(reason="the name in the answer is blank"), self.prompt(evidence), text)
        words = dict.fromkeys(word for each in naming.words if (word := single_spaced(each)))
        return Explanation(Label(name=name, further=tuple(words)), self.prompt(evidence), text)


def question(evidence: Evidence) -> str:
    lines = [f"{at}. {line}" for at, line in enumerate(graded(evidence.contexts), 1)]
    tokens = [each.token.strip() for each in evidence.top_tokens[:PROMOTED] if each.token.strip()]
    promoted = ["", f"Tokens that it makes more likely: {', '.join(tokens)}"] if tokens else []
    return "\n".join(["Texts:", *lines, *promoted])
