"""Stand-ins for the engine of a run, and for what labelling makes of a model that says something."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

from torch import Tensor
from transformers import AutoTokenizer

from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.bundle import bundled_model
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Generation
from featurehub.records import FeatureRow, Provenance, Unlabeled
from featurehub.runs.baseline import EvaluatedSae
from featurehub.runs.register import Description, candidates_of
from labeling.label import LatentLabel
from saes.reader import FakeReader
from tests.labels import labeled

WIDTH = 192
NAMES = ("loan", "dog", "sea", "sun", "law", "war")


class FakeEngine(FakeReader):
    """With the bundled model's tokenizer and width; reads a random stream, and answers every prompt alike."""

    longest = 64
    weights = "fake"
    model = bundled_model()
    config = EngineConfig.capturing(HookPoint(layer=5))

    def __init__(self, *_: object) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(bundled_model())
        super().__init__(len(self.tokenizer), WIDTH)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def capture(self, documents: Sequence[Sequence[int]], *points: HookPoint, steerings: object = ()) -> list[Tensor]:
        return super().capture(documents, *points)

    def generate(self, prompts: Sequence[Sequence[int]], *_: object) -> Iterator[Generation]:
        return (Generation("good", [20, 21, 22], None) for _ in prompts)


def describe(model: Any, engine: Any, sae: EvaluatedSae, *_: Any) -> Description:
    """Latents 0 to 5 are called by ``NAMES``, each with a worse label than the one before; the others have no label."""
    rows = [FeatureRow(latent=i, density=0.1, max_activation=1.0) for i in range(sae.dictionary.d_sae)]
    named = [labeled(f"{name}: word", score=0.9 - i / 10) for i, name in enumerate(NAMES)]
    outcomes = [*named, *(Unlabeled(reason="nothing") for _ in rows[len(named) :])]
    labels = [LatentLabel(i, each, Provenance(author="test", method="test")) for i, each in enumerate(outcomes)]
    return Description(rows, labels, candidates_of(sae.dictionary, labels), sae.activations.median_norm, {})
