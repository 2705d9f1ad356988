"""Those who answer in ``throughput.py``: vLLM alone, featurehub, and its peers, each in a process of its own.

A contender reads lines from standard input, what a batch asks for, and prints for each the tokens per second and a
digest of the tokens; or, in one line, the error that ended it. All have the same shape of model (random weights), the
same prompts, the same number of tokens to generate. A peer's edits are nudges along a decoder row, which is what each
of them offers; featurehub's are of all four modes.

    plain            vLLM, no plugin
    control          the same again: how far two equal processes lie apart
    featurehub       vLLM with the hook

Its peers stand in ``peers.py``, those of ``harvest.py`` in ``harvesters.py``, those of ``training.py`` in
``trainers.py``.
"""

import itertools
import os
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from harvesters import harvest, harvest_to_hook, hooks_to_layer, prefill
from peers import PEER_PLUGINS, PEERS
from shapes import SHAPES, Asked, Contender, Load, Shape
from trainers import featurehub_trainer, runner, trainer_from_disk
from vllm_alone import generate, tokens_of, vllm_engine


def plain(shape: Shape, folder: Path, compiled: bool) -> Contender:
    llm = vllm_engine(shape, folder, compiled)
    return lambda asked: tokens_of(generate(llm, asked, [None] * asked.batch))


def featurehub(shape: Shape, folder: Path, compiled: bool) -> Contender:
    """Reports are fetched for every answer, as the server does; an answer without one ends the benchmark."""
    from featurehub.artifacts.manifest import HookPoint
    from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
    from featurehub.engine.worker import EXTENSION

    sae = SaeConfig(id="benchmark", folder=folder, d_sae=shape.d_sae)
    config = EngineConfig(hooks=(HookConfig(point=HookPoint(layer=shape.layer), saes=(sae,)),))
    options = {"additional_config": config.to_additional_config(), "worker_extension_cls": EXTENSION}
    llm = vllm_engine(shape, folder, compiled, **options)

    def answer(asked: Asked) -> list[list[int]]:
        outputs = generate(llm, asked, [steering(asked, i) for i in range(asked.batch)])
        keys = [f"r{i}" for i in range(asked.batch if asked.edits or asked.top_k else 0)]
        [reports] = llm.collective_rpc("featurehub_reports", args=(keys,))
        assert all(reports)
        return tokens_of(outputs)

    return answer


def steering(asked: Asked, request: int) -> dict[str, str] | None:
    from featurehub.edits import LatentEdit, Read, Steering
    from featurehub.features import Mode

    if not (asked.edits or asked.top_k):
        return None
    modes, which = itertools.cycle(Mode), request if asked.distinct else 0
    edits = tuple(
        LatentEdit(latent=8 * (which % 90) + i, mode=next(modes), value=20.0 + which) for i in range(asked.edits)
    )
    reads = (Read(top_k=asked.top_k),) if asked.top_k else ()
    return {"featurehub": Steering(edits=edits, reads=reads, report=f"r{request}").to_request()}


CONTENDERS: dict[str, Load] = {
    "plain": plain,
    "control": plain,
    "featurehub": featurehub,
    **PEERS,
    "prefill": prefill,
    "prefill-again": prefill,
    "harvest": harvest,
    "harvest-to-hook": harvest_to_hook,
    "hooks-to-layer": hooks_to_layer,
    "train": featurehub_trainer,
    "train-from-disk": trainer_from_disk,
    "runner": runner,
}
PLUGINS = dict.fromkeys(("featurehub", "harvest", "harvest-to-hook", "train", "train-from-disk"), "featurehub")
PLUGINS |= PEER_PLUGINS


@contextmanager
def quiet() -> Iterator[None]:
    """Libraries print while they load; only rates may come out."""
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(out, 1)
        os.close(out)


def serve(name: str, model: str, folder: Path, compiled: bool) -> None:
    """Answers each line of standard input, what a batch asks for."""
    with quiet():
        contender = CONTENDERS[name](SHAPES[model], folder, compiled)
    for line in sys.stdin:
        batch, edits, distinct, top_k, tokens, greedy = map(int, line.split())
        print(timed(contender, Asked(batch, edits, bool(distinct), top_k, tokens, bool(greedy))), flush=True)


def timed(contender: Contender, asked: Asked) -> str:
    with quiet():
        started = time.perf_counter()
        answered = contender(asked)
        count = answered if isinstance(answered, int) else sum(map(len, answered))
        seconds = time.perf_counter() - started
    return f"RATE {count / seconds} {zlib.crc32(repr(answered).encode())}"


def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What ends a contender: whole to its log, in one line to who asks."""
    sys.__excepthook__(kind, error, trace)
    print(f"ERROR {kind.__name__}: {' '.join(str(error).split())}", flush=True)


if __name__ == "__main__":
    sys.excepthook = tell
    serve(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:] == ["compiled"])
