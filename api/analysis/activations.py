"""``POST /v1/features/activations``: the activations of a chat or text as one matrix, [tokens, features].

1. The text becomes tokens as the model reads them, and names become a plan (``api.plan``).
2. The engine reads the tokens once, and counts how often each latent is active at all of them.
3. Columns are the named features, in the order of the request; without names all latents that are active anywhere, by
   SAE and latent. A token shows at most its ``TOP_K_MAX`` strongest of each SAE then: the counts tell whether it had
   more, and the answer warns of it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray
from pydantic import Field

from api.analysis.reading import ChatOrText, engine_of, read, reading_plan, with_totals
from api.answer import labels_of, named
from api.deployment import CurrentDeployment, Deployment
from api.engine import Tokens
from api.members import with_members
from api.names import resolve
from api.plan import Plan
from api.request import Name, ReturnActivations, SteeringRequest
from featurehub.activations import NO_LATENT, ActivationBlock, PackedActivations
from featurehub.answers import Notice, ServedSae
from featurehub.edits import TOP_K_MAX, Steering
from featurehub.errors import InvalidInput
from featurehub.matrix import ENTRIES_MAX, MatrixColumn, PackedMatrix
from featurehub.report import SteerReport
from featurehub.settings import Frozen

__all__ = ["ActivationMatrix", "ActivationsBody", "activations", "router"]

router = APIRouter(prefix="/v1/features", tags=["features"])
Ints, Floats = NDArray[np.int64], NDArray[np.float32]
Latent = tuple[str, int]
"""The id of an SAE, and an index in it."""


class ActivationsBody(ChatOrText):
    """The body of a request: a chat or a text.

    Attributes:
        sae: The only SAE that is asked, by its id, name or alias; None for all that are served. It says where all
            active latents are looked for, so it goes without ``features``.
        features: The features whose activations are returned; at most 64. None are all that are active.
    """

    sae: Name | None = None
    features: tuple[Name, ...] = Field(default=(), max_length=TOP_K_MAX)

    @property
    def asked(self) -> SteeringRequest:
        """What is read, as a completion would ask for it."""
        if self.features and self.sae is not None:
            raise InvalidInput('"sae" says where all active latents are; give it without "features"', param="sae")
        whole = {"top_k": TOP_K_MAX, "sae": self.sae}
        reads = ReturnActivations.model_validate({"features": self.features} if self.features else whole)
        return SteeringRequest(reads=reads)


class ActivationMatrix(Frozen):
    """The activations of a chat or text.

    Attributes:
        object: Always "activations".
        tokens: The text that each token adds; a row of the matrix each.
        content: Of each token, whether it is somebody's words: no special token, none that the chat template adds.
        features: What the columns are.
        matrix: [tokens, features] raw activations.
        saes: The SAEs that were asked, with their states on the loaded model.
        warnings: What the client should know.
    """

    object: Literal["activations"] = "activations"
    tokens: tuple[str, ...]
    content: tuple[bool, ...]
    features: tuple[MatrixColumn, ...]
    matrix: PackedMatrix
    saes: tuple[ServedSae, ...]
    warnings: tuple[Notice, ...]


@router.post("/activations")
async def activations(deployment: CurrentDeployment, body: ActivationsBody) -> ActivationMatrix:
    """The activations of a chat or text as a matrix, packed."""
    engine = engine_of(deployment)
    asked = body.asked
    deployment.door.check(asked)
    tokens = await asyncio.to_thread(engine.tokens, body.entry)
    plan = await asyncio.to_thread(reading_plan, asked, deployment, body.model)
    check_size(len(tokens.ids), plan.steering)
    everywhere = Tokens(tokens.ids, [True] * len(tokens.ids))
    report = await read(tokens, with_totals(plan, everywhere), deployment)
    return await asyncio.to_thread(answer, asked, tokens, plan, report, deployment)


def check_size(tokens: int, steering: Steering) -> None:
    """Raises InvalidInput where the answer would be too large."""
    each = sum(read.top_k + len(read.latents) for read in steering.reads)
    if tokens * each > ENTRIES_MAX:
        raise InvalidInput(
            f"{tokens:,} tokens with up to {each} activations each are more than {ENTRIES_MAX:,}; send a shorter text, "
            'or name "features" or an "sae"'
        )


def answer(
    asked: SteeringRequest, tokens: Tokens, plan: Plan, report: SteerReport, deployment: Deployment
) -> ActivationMatrix:
    """Step 3."""
    assert report.activations is not None
    found = report.activations
    columns = columns_of(asked, plan, found, deployment)
    with deployment.store.read() as reader:
        known = labels_of(columns, reader)
    names = [(*named(sae, latent, known), sae, latent) for sae, latent in columns]
    return ActivationMatrix(
        tokens=tuple(engine_of(deployment).pieces(tokens.ids)),
        content=tuple(tokens.content),
        features=tuple(MatrixColumn(id=id, label=label, sae=sae, latent=at) for id, label, sae, at in names),
        matrix=packed(found.blocks, columns, len(tokens.ids)),
        saes=plan.saes,
        warnings=plan.notices + (() if asked.reads is None or asked.reads.features else cut(found)),
    )


def columns_of(
    asked: SteeringRequest, plan: Plan, found: PackedActivations, deployment: Deployment
) -> Sequence[Latent]:
    """The latents of the columns."""
    if asked.reads is None or not asked.reads.features:
        return [(block.sae, latent) for block in found.blocks for latent in sorted(block.distinct())]
    with deployment.store.read() as reader:
        features, groups = resolve(asked, reader, plan.served)
    reads = with_members(asked, groups, deployment.limits).reads
    assert reads is not None
    named = (features[name].feature for name in reads.features)
    return [*dict.fromkeys((each.artifact, each.latent) for each in named)]


def packed(blocks: Sequence[ActivationBlock], columns: Sequence[Latent], tokens: int) -> PackedMatrix:
    """The activations in these columns, as far as they are not 0."""
    place = {latent: column for column, latent in enumerate(columns)}
    parts = [entries_of(block, place) for block in blocks]
    rows, indices, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((indices, rows))
    starts = np.searchsorted(rows[order], np.arange(tokens + 1))
    ints = [each.astype("<i4").tobytes() for each in (starts, indices[order])]
    return PackedMatrix.pack(len(columns), ints[0], ints[1], values[order].astype("<f4").tobytes())


def entries_of(block: ActivationBlock, place: Mapping[Latent, int]) -> tuple[Ints, Ints, Floats]:
    """Of each activation in a block that is not 0: its token, its column and its value."""
    latents, values = block.arrays()
    rows, at = np.nonzero((latents != NO_LATENT) & (values > 0))
    distinct, inverse = np.unique(latents[rows, at], return_inverse=True)
    of_distinct = np.array([place[block.sae, latent] for latent in distinct.tolist()], np.int64)
    return rows, of_distinct[inverse], values[rows, at]


def cut(found: PackedActivations) -> tuple[Notice, ...]:
    """A warning for each SAE of which some token had more active latents than it shows."""
    active = {each.sae: int(each.arrays()[1].sum()) for each in found.totals}
    shown = {block.sae: int((block.arrays()[1] > 0).sum()) for block in found.blocks}
    return tuple(
        Notice(
            code="activations_cut",
            message=f"{active[sae]:,} activations are not 0; the {TOP_K_MAX} strongest of each token are returned, "
            f'{count:,} in all. Name "features" to see theirs.',
            sae=sae,
        )
        for sae, count in shown.items()
        if active.get(sae, 0) > count
    )
