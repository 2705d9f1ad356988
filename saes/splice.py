"""What a model loses when its stream passes through an SAE: cross-entropy and KL divergence on held-out documents.

1. Documents of about the same length go through the model together, right-padded: what comes after a token changes
   nothing for it. Padding is never counted.
2. Each batch passes three times: as it is, with x̂ for x at the hook point, and with 0 for x.
3. When x̂ replaces x, special tokens keep their x; when 0 replaces it, every token's x is zeroed.
4. Only ordinary tokens count: KL(model ‖ changed) at each of them, and the cross-entropy of the next token at each that
   has one.

    CE score = (CE_zero − CE_sae) / (CE_zero − CE_model)
    KL score = (KL_zero − KL_sae) / KL_zero

Steps 3 and 4 are those of sae-lens' evals, so that both come to the same numbers.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from featurehub.dictionary import Dictionary
from featurehub.errors import InvalidInput
from featurehub.settings import Frozen
from saes.documents import Document
from saes.host import Change, Host

__all__ = ["Fidelity", "measure_splice"]

BATCH_DOCUMENTS = 32
BATCH_FLOATS = 1 << 25
"""Most numbers in a batch's logits or activations: 128 MiB in float32."""


TokenIds = Int[Tensor, "documents tokens"]
TokenMask = Bool[Tensor, "documents tokens"]
PairMask = Bool[Tensor, "documents tokens-1"]
LogProbabilities = Float[Tensor, "documents tokens vocabulary"]


class Fidelity(Frozen):
    """What splicing an SAE into a model costs, in nats per token.

    Attributes:
        ce_model: Cross-entropy of the model as it is.
        ce_sae: Cross-entropy with the SAE's reconstruction in place of the stream.
        ce_zero: Cross-entropy with the stream zeroed.
        kl_sae: KL divergence from the model as it is to the one with the reconstruction.
        kl_zero: KL divergence from the model as it is to the one with the stream zeroed.
    """

    ce_model: float
    ce_sae: float
    ce_zero: float
    kl_sae: float
    kl_zero: float

    @property
    def ce_score(self) -> float | None:
        """Share of the stream's worth in cross-entropy that the SAE keeps, about 1 at most; None if it has none."""
        return kept(self.ce_model, self.ce_sae, self.ce_zero)

    @property
    def kl_score(self) -> float | None:
        """Share of the stream's worth in KL divergence that the SAE keeps, 1 at most; None if it has none."""
        return kept(0.0, self.kl_sae, self.kl_zero)


def kept(model: float, sae: float, zero: float) -> float | None:
    return (zero - sae) / (zero - model) if zero != model else None


def measure_splice(
    host: Host,
    dictionary: Dictionary,
    documents: Sequence[Document],
    special: Collection[int],
    progress: Callable[[int], None] = lambda documents: None,
) -> Fidelity:
    """Measures what the model loses on some documents when its stream passes through the SAE.

    Args:
        host: The model, at the SAE's hook point.
        dictionary: The SAE.
        documents: Held-out documents.
        special: Ids of special tokens, which do not count.
        progress: Called with the number of documents of every batch.

    Raises:
        InvalidInput: If no ordinary token is followed by another token.
    """
    device = host.model.device
    dictionary = Dictionary._make(None if each is None else each.to(device) for each in dictionary)
    sums, counts = torch.zeros(5, dtype=torch.float64), torch.zeros(2, dtype=torch.long)
    for batch in batches(documents, max(host.vocabulary, dictionary.d_sae)):
        ids, filled, ordinary = (each.to(device) for each in laid_out(batch, special))
        followed = ordinary[:, :-1] & filled[:, 1:]
        sums += torch.stack(losses(host, dictionary, ids, ordinary, followed)).cpu()
        counts += torch.stack([followed.sum(), ordinary.sum()]).cpu()
        progress(len(batch))
    if not counts[0]:
        raise InvalidInput("the text holds no ordinary token with another behind it", param="text")
    ce_model, ce_sae, ce_zero = (sums[:3] / counts[0]).tolist()
    kl_sae, kl_zero = (sums[3:] / counts[1]).tolist()
    return Fidelity(ce_model=ce_model, ce_sae=ce_sae, ce_zero=ce_zero, kl_sae=kl_sae, kl_zero=kl_zero)


def batches(documents: Sequence[Document], width: int) -> Iterator[list[Document]]:
    """Step 1, longest first, so that what does not fit into memory fails at once.

    Args:
        documents: All documents.
        width: Numbers that the model or the SAE makes for each token.
    """
    ordered = sorted(documents, key=lambda document: len(document.token_ids))
    while ordered:
        size = min(BATCH_DOCUMENTS, max(1, BATCH_FLOATS // (width * len(ordered[-1].token_ids))))
        yield ordered[-size:]
        del ordered[-size:]


def laid_out(batch: Sequence[Document], special: Collection[int]) -> tuple[TokenIds, TokenMask, TokenMask]:
    """Returns token ids, the mask of tokens that belong to a document, and the mask of ordinary ones."""
    rows = [torch.tensor(document.token_ids) for document in batch]
    ids = pad_sequence(rows, batch_first=True)
    filled = pad_sequence([torch.ones_like(row, dtype=torch.bool) for row in rows], batch_first=True)
    ordinary = filled & ~torch.isin(ids, torch.tensor(sorted(special), dtype=torch.long))
    ordinary[:, 0] = False
    return ids, filled, ordinary


def losses(
    host: Host,
    dictionary: Dictionary,
    ids: TokenIds,
    ordinary: TokenMask,
    followed: PairMask,
) -> list[Float[Tensor, ""]]:
    """Steps 2 to 4: the sums of CE_model, CE_sae, CE_zero, KL_sae and KL_zero over a batch."""
    model = host.log_probabilities(ids)
    with host.changing(reconstructing(dictionary, ordinary.flatten())):
        sae = host.log_probabilities(ids)
    with host.changing(torch.zeros_like):
        zero = host.log_probabilities(ids)
    entropies = [cross_entropy(each, ids, followed) for each in (model, sae, zero)]
    return [*entropies, *(divergence(model, each, ordinary) for each in (sae, zero))]


def reconstructing(dictionary: Dictionary, ordinary: Bool[Tensor, " tokens"]) -> Change:
    return lambda x: torch.where(ordinary[:, None], dictionary.decode(dictionary.encode(x)), x)


def cross_entropy(
    log_p: LogProbabilities,
    ids: TokenIds,
    followed: PairMask,
) -> Float[Tensor, ""]:
    return -log_p[:, :-1].gather(-1, ids[:, 1:, None])[..., 0][followed].double().sum()


def divergence(
    log_p: LogProbabilities,
    log_q: LogProbabilities,
    counted: TokenMask,
) -> Float[Tensor, ""]:
    return (log_p.exp() * (log_p - log_q)).sum(-1)[counted].double().sum()
