"""What steering costs the host: microseconds of the V2 adapter for a step, a request, a report and a read.

The adapter runs on CPU tensors, with stand-ins for vLLM's model state and batches; no model runs, and what would be
launches on a GPU are small operations here. Each figure is the time of this thread over that of an empty adapter, which
does the same and asks for nothing; both alternate, and the median of the rounds counts.

    OMP_NUM_THREADS=1 python tests/benchmarks/host_cost.py [--rounds 9] [--batches 1 32 256]

    step          a step in which all requests generate, none comes or goes
    step, 1 new   the same, where one request ends and another comes with a prompt
    add, release  for a request, of a whole batch that comes in one step and goes in another
    admission     for a request, in the frontend: checks, salt and seal
    report        for a request, 32 fetched together: made, sent as bytes, read
    read          for a token, of 32 requests with 48 tokens: kept in its step, encoded, made, sent as bytes, read
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from vllm.v1.engine import EngineCoreRequest
from vllm_stand_ins import PROMPT, EmptyState, batch_of, engine_request, new_request

from featurehub.artifacts.manifest import HookPoint
from featurehub.dictionary import Dictionary
from featurehub.edits import LatentEdit, Read, Steering
from featurehub.engine.admission import admit
from featurehub.engine.config import KEY, EngineConfig, HookConfig, SaeConfig
from featurehub.engine.hookset import HookSet, install
from featurehub.engine.runner_v2 import hooked_state
from featurehub.engine.worker import HookWorker
from featurehub.features import Mode
from featurehub.report import SteerReport

D_MODEL, D_SAE, MOST = 16, 256, 256
BATCHES = (1, 32, 256)
TOGETHER, TOKENS = 32, 48
console = Console(width=150)


class Case(NamedTuple):
    """What every request of a batch asks for."""

    name: str
    edits: int = 0
    distinct: bool = False
    top_k: int = 0

    def steering(self, request: int) -> Steering:
        modes, shift = list(Mode), request if self.distinct else 0
        edits = tuple(
            LatentEdit(sae="a", latent=(shift + 7 * k) % D_SAE, mode=modes[k % 4], value=0.5 + k)
            for k in range(self.edits)
        )
        reads = (Read(sae="a", top_k=self.top_k),) if self.top_k else ()
        return Steering(edits=edits, reads=reads, report=f"r{request}")


CASES = (Case("nothing"), Case("1 edit", 1), Case("8 edits", 8), Case("8 distinct", 8, True), Case("top-8", top_k=8))


def new_requests(case: Case, count: int, first: int = 0) -> list[Any]:
    """vLLM's ``NewRequestData`` of requests that passed admission."""
    return [new_request(case.steering(first + i), f"{first + i}") for i in range(count)]


class Bench:
    """Both adapters, under the same calls.

    Args:
        config: The engine's hook point.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.hooks = HookSet(config, MOST, 4 * MOST * PROMPT, D_MODEL, graphs=True)
        install(self.hooks)
        self.own, self.empty = hooked_state(EmptyState)(), EmptyState()
        self.ids = torch.zeros(4 * MOST * PROMPT, dtype=torch.int32)
        self.worker = HookWorker()
        self.numbers = itertools.count(1)

    def first(self, count: int) -> int:
        """The first of so many numbers that no request has had."""
        numbers = list(itertools.islice(self.numbers, count))
        return numbers[0]

    def come(self, state: Any, requests: Sequence[Any]) -> None:
        for slot, request in enumerate(requests):
            state.add_request(slot, request)
        state.apply_staged_writes()

    def go(self, state: Any, requests: Sequence[Any]) -> None:
        for request in requests:
            state.remove_request(request.req_id)

    def run(self, state: Any, batches: Sequence[Any]) -> None:
        for batch in batches:
            state.prepare_inputs(batch, None)

    def batch(self, requests: Sequence[Any], tokens: int = 1) -> Any:
        return batch_of([r.req_id for r in requests], [tokens] * len(requests), self.ids)

    def fetch(self, keys: Sequence[str]) -> list[SteerReport]:
        """Reports as the frontend gets them."""
        wires = self.worker.featurehub_reports(keys)
        return [SteerReport.sum_of(each) for each in msgspec.msgpack.decode(msgspec.msgpack.encode(wires))]

    def forget(self, requests: Sequence[Any]) -> None:
        """Takes the reports that nobody reads."""
        for request in requests:
            self.hooks.report(f"r{request.req_id}")


def microseconds(run: Callable[[], None]) -> float:
    """Time of this thread, whatever else runs on the machine."""
    start = time.thread_time_ns()
    run()
    return (time.thread_time_ns() - start) / 1000


@contextmanager
def running(bench: Bench, case: Case, size: int) -> Iterator[list[Any]]:
    """A batch of requests that have read their prompts, in both adapters."""
    requests = new_requests(case, size, bench.first(size))
    for state in (bench.own, bench.empty):
        bench.come(state, requests)
        state.prepare_inputs(bench.batch(requests, PROMPT), None)
    try:
        yield requests
    finally:
        bench.go(bench.own, requests)
        bench.forget(requests)


def step(bench: Bench, case: Case, size: int) -> Iterator[float]:
    """One round after the other."""
    with running(bench, case, size) as requests:
        while True:
            batches = [bench.batch(requests) for _ in range(40)]
            own, empty = (microseconds(partial(bench.run, state, batches)) for state in (bench.own, bench.empty))
            yield (own - empty) / len(batches)


def churn(bench: Bench, case: Case, size: int) -> Iterator[float]:
    with running(bench, case, size) as requests:
        while True:
            steps = []
            for i, request in enumerate(new_requests(case, 20, bench.first(20))):
                gone, requests[i % size] = requests[i % size], request
                tokens = [PROMPT if each is request else 1 for each in requests]
                steps.append((gone, request, batch_of([each.req_id for each in requests], tokens, bench.ids)))

            def run(state: Any, steps: Sequence[Any] = steps) -> None:
                for gone, request, batch in steps:
                    state.remove_request(gone.req_id)
                    state.add_request(0, request)
                    state.apply_staged_writes()
                    state.prepare_inputs(batch, None)

            own, empty = (microseconds(lambda state=state: run(state)) for state in (bench.own, bench.empty))
            yield (own - empty) / len(steps)


def add_release(bench: Bench, case: Case, size: int) -> Iterator[float]:
    """The step in which a batch comes is counted; so is one that finds all of it gone."""
    while True:
        requests = new_requests(case, size, bench.first(size))
        prompts = bench.batch(requests, PROMPT)
        other = batch_of(["other"], [1], bench.ids)

        def run(state: Any, requests: Sequence[Any] = requests, prompts: Any = prompts, other: Any = other) -> None:
            bench.come(state, requests)
            state.prepare_inputs(prompts, None)
            bench.go(state, requests)
            state.prepare_inputs(other, None)

        own, empty = (microseconds(lambda state=state: run(state)) for state in (bench.own, bench.empty))
        yield (own - empty) / size
        bench.forget(requests)


def report(bench: Bench, case: Case, size: int) -> Iterator[float]:
    while True:
        requests = new_requests(case, size, bench.first(size))
        bench.come(bench.own, requests)
        bench.own.prepare_inputs(bench.batch(requests, PROMPT), None)
        bench.go(bench.own, requests)
        bench.own.prepare_inputs(batch_of(["other"], [1], bench.ids), None)
        keys = [f"r{request.req_id}" for request in requests]
        yield microseconds(lambda keys=keys: bench.fetch(keys).clear()) / size


def read(bench: Bench, case: Case, size: int) -> Iterator[float]:
    while True:
        requests = new_requests(case, size, bench.first(size))
        steps = [bench.batch(requests, PROMPT), *(bench.batch(requests) for _ in range(TOKENS - PROMPT))]
        keys = [f"r{request.req_id}" for request in requests]

        def run(state: Any, requests: Sequence[Any] = requests, steps: Sequence[Any] = steps) -> None:
            bench.come(state, requests)
            for each in steps:
                state.prepare_inputs(each, None)
            bench.go(state, requests)
            state.prepare_inputs(batch_of(["other"], [1], bench.ids), None)

        own = microseconds(lambda: run(bench.own)) + microseconds(lambda keys=keys: unpacked(bench.fetch(keys)))
        yield (own - microseconds(lambda: run(bench.empty))) / (size * TOKENS)


def unpacked(reports: Sequence[SteerReport]) -> None:
    """As a frontend reads them: as arrays."""
    for each in reports:
        assert each.activations is not None
        for block in each.activations.blocks:
            assert block.is_gapless
            assert len(np.frombuffer(block.latents, "<i4")) == len(np.frombuffer(block.activations, "<f4"))


def admission(bench: Bench, case: Case, size: int) -> Iterator[float]:
    while True:
        steerings = [case.steering(bench.first(1)) for _ in range(size)]
        carried = [None if each.is_nothing else {KEY: each.to_request()} for each in steerings]
        own, plain = (
            [engine_request(f"{i}", each) for i, each in enumerate(extras)] for extras in (carried, [None] * size)
        )
        times = [microseconds(partial(admit_all, made, bench.hooks.config)) for made in (own, plain)]
        yield (times[0] - times[1]) / size


def admit_all(requests: Sequence[EngineCoreRequest], config: EngineConfig) -> None:
    for request in requests:
        admit(request, config, 2)


Measure = Callable[[Bench, Case, int], Iterator[float]]


def make_config(folder: Path) -> EngineConfig:
    generator = torch.Generator().manual_seed(0)
    W = torch.nn.functional.normalize(torch.randn(D_SAE, D_MODEL, generator=generator), dim=-1)
    zeros = torch.zeros(D_SAE)
    Dictionary(W.clone(), W, zeros, torch.zeros(D_MODEL), zeros).save(folder / "sae.safetensors")
    sae = SaeConfig(id="a", folder=folder, d_sae=D_SAE)
    return EngineConfig(hooks=(HookConfig(point=HookPoint(layer=1), saes=(sae,)),))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    edited = CASES[1:4]
    rows: list[tuple[str, Measure, int, Sequence[Case]]] = [
        *((f"step, batch {n}", step, n, CASES) for n in arguments.batches),
        *((f"step, 1 new, batch {n}", churn, n, CASES) for n in arguments.batches),
        *((f"add, release, batch {n}", add_release, n, CASES) for n in arguments.batches),
        ("admission", admission, TOGETHER, CASES[1:]),
        ("report", report, TOGETHER, edited),
        ("read", read, TOGETHER, CASES[4:]),
    ]
    table = Table("µs", *(case.name for case in CASES))
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        bench = Bench(make_config(Path(folder)))
        for name, measure, size, cases in rows:
            table.add_row(name, *(figure(bench, measure, case, size, arguments.rounds, cases) for case in CASES))
    console.print(table)


def figure(bench: Bench, measure: Measure, case: Case, size: int, rounds: int, cases: Sequence[Case]) -> str:
    if case not in cases:
        return "-"
    running = measure(bench, case, size)
    next(running)
    median = statistics.median(itertools.islice(running, rounds))
    running.close()  # type: ignore[attr-defined]
    return f"{median:.1f}"


if __name__ == "__main__":
    main()
