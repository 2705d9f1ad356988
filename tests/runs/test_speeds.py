"""How fast an engine works is measured by little where it is slow."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from featurehub.engine.offline import Engine, Generation
from featurehub.runs import speeds
from featurehub.runs.speeds import answering_speed, beginning, measure_speeds, speed, untrained
from saes.documents import Document
from tests.runs.fakes import WIDTH, FakeEngine

DOCUMENTS = [Document([20 + i % 7] * 100, 20) for i in range(60)]


@pytest.mark.parametrize(("pace", "tried"), [(1000.0, [16, 48]), (4.0, [16])])
def test_a_slow_engine_is_tried_once(monkeypatch: pytest.MonkeyPatch, pace: float, tried: list[int]) -> None:
    clock, done = SimpleNamespace(now=0.0), list[int]()
    monkeypatch.setattr(speeds, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def work(tokens: int) -> None:
        clock.now += tokens / pace
        done.append(tokens)

    assert speed({tokens: lambda tokens=tokens: work(tokens) for tokens in (16, 48)}) == pytest.approx(pace)
    assert done == tried


def test_a_whole_answer_reads_its_prompt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a prompt takes 2 seconds, and each token a tenth of one: 48 tokens take 6.8, not 6 times 2.9."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(speeds, "time", SimpleNamespace(monotonic=lambda: clock.now))

    class Slow(FakeEngine):
        def generate(self, prompts: Any, steerings: Any, sampling: Any) -> Iterator[Generation]:
            clock.now += 2.0 + 0.1 * sampling.max_tokens
            return super().generate(prompts)

    found = answering_speed(cast(Engine, Slow()), [[1, 2, 3]], lambda i: None)
    assert found == pytest.approx(16 * 48 / 6.8)


def test_it_is_measured_on_the_first_documents() -> None:
    assert [len(beginning(DOCUMENTS, tokens)) for tokens in (50, 512, 4096, 10**6)] == [1, 5, 40, 60]
    found = measure_speeds(FakeEngine(), untrained(24, WIDTH), DOCUMENTS, start=3.0)
    assert found.start == 3.0
    assert min(found.read, found.answer, found.steered) > 0
