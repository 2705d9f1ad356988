"""Stand-ins for the engine of a run."""

from collections.abc import Iterator, Sequence
from typing import Self

from transformers import AutoTokenizer

from featurehub.demo.bundle import bundled_model
from featurehub.engine.offline import Generation
from saes.reader import FakeReader

WIDTH = 192


class FakeEngine(FakeReader):
    """With the bundled model's tokenizer and width; reads a random stream, and answers every prompt alike."""

    longest = 64

    def __init__(self, *_: object) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(bundled_model())
        super().__init__(len(self.tokenizer), WIDTH)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def generate(self, prompts: Sequence[Sequence[int]], *_: object) -> Iterator[Generation]:
        return (Generation("good", [20, 21, 22], None) for _ in prompts)
