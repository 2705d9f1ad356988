"""The rows that Neuronpedia exchanges, with its names, and all rows of one source together."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import Field

from featurehub.artifacts.manifest import HookPoint, Manifest, ModelIdentity, Site
from featurehub.records import Context, FeatureRow, Histogram, Label, Labeled, Outcome, Provenance, TokenLogit
from featurehub.settings import Frozen

__all__ = ["FOLDERS", "ContextRow", "Export", "LabelRow", "SourceRow", "StatisticsRow"]

LABEL_CHARS = 2_000
BINS, CONTEXTS = 100, 20
"""Bars of the longest histogram, and contexts of a feature, strongest first, that are kept."""
SITES = {"res": Site.RESID_POST, "mlp": Site.MLP_OUT, "att": Site.ATTN_OUT}
OF_HEADS = ("gemmascope", "kk")
"""In names of sources whose SAEs of attention read z."""
FOLDERS = ("explanations", "features", "activations")
AUTHOR = "neuronpedia"


class SourceRow(Frozen, extra="ignore"):
    """What every row has. ``layer`` names the SAE: ``20-gemmascope-res-16k``."""

    model_id: str = Field(alias="modelId", min_length=1, max_length=200)
    layer: str = Field(min_length=1, max_length=200)
    index: int = Field(ge=0, lt=1 << 31)


class LabelRow(SourceRow):
    """A label."""

    description: str = Field(max_length=LABEL_CHARS)
    model: str | None = Field(default=None, alias="explanationModelName")
    method: str | None = Field(default=None, alias="typeName")

    @property
    def version(self) -> tuple[Outcome, Provenance]:
        """The label as a version of ours: a name as a whole."""
        provenance = Provenance(author=AUTHOR, method=self.method or AUTHOR, model=self.model or "")
        return Labeled(label=Label(name=self.description)), provenance


class StatisticsRow(SourceRow):
    """What is known of a feature."""

    max_activation: float = Field(default=0.0, alias="maxActApprox", ge=0.0)
    density: float = Field(default=0.0, alias="frac_nonzero", ge=0.0, le=1.0)
    pos_str: tuple[str, ...] = ()
    pos_values: tuple[float, ...] = ()
    neg_str: tuple[str, ...] = ()
    neg_values: tuple[float, ...] = ()
    middles: tuple[float, ...] = Field(default=(), alias="freq_hist_data_bar_values")
    heights: tuple[float, ...] = Field(default=(), alias="freq_hist_data_bar_heights")

    @property
    def histogram(self) -> Histogram | None:
        """The histogram as ours; None where there is none of two to ``BINS`` bars."""
        bars = len(self.middles)
        if bars != len(self.heights) or not 2 <= bars <= BINS:
            return None
        half = (self.middles[-1] - self.middles[0]) / (bars - 1) / 2
        low, high = max(0.0, self.middles[0] - half), self.middles[-1] + half
        return Histogram(low=low, high=high, counts=tuple(map(round, self.heights))) if high > low else None


class ContextRow(SourceRow):
    """A context."""

    tokens: tuple[str, ...]
    values: tuple[float, ...]

    @property
    def context(self) -> Context:
        """The context as ours; raises ValueError where tokens and values differ in number."""
        return Context(tokens=self.tokens, activations=tuple(max(0.0, value) for value in self.values))


class Export:
    """The rows of one source, by latent.

    Attributes:
        model: Name of the model.
        layer: Name of the SAE.
        labels: All explanations, in their order; later ones are newer.
        statistics: By latent.
        contexts: By latent.
        blank: How many explanations say nothing.
    """

    def __init__(self) -> None:
        self.model = self.layer = ""
        self.labels: defaultdict[int, list[LabelRow]] = defaultdict(list)
        self.statistics: dict[int, StatisticsRow] = {}
        self.contexts: defaultdict[int, list[Context]] = defaultdict(list)
        self.blank = 0

    @property
    def source(self) -> str:
        """Its name."""
        return f"{self.model}/{self.layer}"

    @property
    def latents(self) -> list[int]:
        """The latents of which anything is known."""
        return sorted(self.labels.keys() | self.statistics.keys() | self.contexts.keys())

    def add(self, row: SourceRow) -> None:
        """Adds a row. Raises ValueError if it is of another source, or a context is not valid."""
        own = (row.model_id, row.layer)
        if self.model and own != (self.model, self.layer):
            raise ValueError(f"it is of {row.model_id}/{row.layer}, the rows before are of {self.source}; import one")
        self.model, self.layer = own
        if isinstance(row, StatisticsRow):
            self.statistics[row.index] = row
        elif isinstance(row, ContextRow):
            self.contexts[row.index].append(row.context)
        elif isinstance(row, LabelRow) and row.description.strip():
            self.labels[row.index].append(row)
        else:
            self.blank += 1

    def row(self, latent: int) -> FeatureRow:
        """A latent's statistics; density and largest activation are 0 where the source has none."""
        known = self.statistics.get(latent) or StatisticsRow(modelId=self.model, layer=self.layer, index=latent)
        contexts = sorted(self.contexts.get(latent, ()), key=lambda c: -max(c.activations, default=0.0))[:CONTEXTS]
        strongest = max((max(c.activations, default=0.0) for c in contexts), default=0.0)
        return FeatureRow(
            latent=latent,
            density=known.density,
            max_activation=max(known.max_activation, strongest),
            contexts=tuple(contexts),
            top_tokens=token_logits(known.pos_str, known.pos_values),
            bottom_tokens=token_logits(known.neg_str, known.neg_values),
            histogram=known.histogram,
        )

    def manifest(self) -> Manifest:
        """A manifest of an SAE of which only the source is known; its id follows from that alone."""
        layer = re.match(r"(\d+)", self.layer)
        parts = self.layer.split("-")
        site = next((site for part, site in SITES.items() if part in parts), Site.RESID_POST)
        if site is Site.ATTN_OUT and any(part in OF_HEADS for part in parts):
            site = Site.Z
        nothing = dict.fromkeys(("dtype", "reads", "whole", "tokenizer", "chat_template"), "")
        return Manifest(
            id=hashlib.sha256(f"neuronpedia:{self.source}".encode()).hexdigest(),
            name=self.source, architecture="unknown", d_model=0, d_sae=max(self.latents) + 1, k=0.0,
            hook=HookPoint(layer=int(layer[1]) if layer else 0, site=site),
            model=ModelIdentity(name=self.model, architecture="unknown", d_model=0, layers=0, **nothing),
            dataset={}, training={}, metrics={}, files={}, created=datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip


def token_logits(tokens: Sequence[str], values: Sequence[float]) -> tuple[TokenLogit, ...]:
    return tuple(TokenLogit(token=token, logit=value) for token, value in zip(tokens, values, strict=False))
