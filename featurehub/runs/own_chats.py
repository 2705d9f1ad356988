"""`featurehub demo chats`: a model's own answers to many requests, to train its SAE and its siblings on.

They are written part by part, each at once when it is done, so that a run that was stopped goes on where it was. Each
answer has a seed of its own.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from featurehub.artifacts.files import write_text
from featurehub.artifacts.manifest import HookPoint
from featurehub.demo.requests import requests
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.errors import InvalidInput
from featurehub.runs.engines import Engines
from featurehub.runs.progress import SILENT, Progress
from featurehub.token_ids import Message, prompt_ids

__all__ = ["CHATS", "write_chats"]

CHATS = 1792
"""How many chats the bundled adapters were trained on."""
PART = 256
SAMPLING = Sampling(temperature=0.8, max_tokens=160, seed=1000)
OPTIONS = EngineOptions(dtype="float32", max_model_len=256, max_num_seqs=128)


def write_chats(model: Path, out: Path, count: int = CHATS, progress: Progress = SILENT) -> None:
    """Writes the first ``count`` chats into files of a folder, ``0000.jsonl`` and so on.

    Args:
        model: Folder of the model.
        out: The folder; created if necessary. Files that are there are kept.
        count: How many chats.
        progress: Receives progress reports.

    Raises:
        InvalidInput: There are not so many requests.
    """
    asked = requests()
    if not 1 <= count <= len(asked):
        raise InvalidInput(f"{count:,} chats were asked for: there are 1 to {len(asked):,} requests", param="count")
    parts = {out / f"{at // PART:04}.jsonl": at for at in range(0, count, PART)}
    missing = {path: at for path, at in parts.items() if not path.is_file()}
    if not missing:
        return
    with (
        Engines(model, OPTIONS, progress).answering(HookPoint(layer=0)) as engine,
        progress.work("answering requests", count, "chats") as advance,
    ):
        for path, at in missing.items():
            write_text(path, answered(engine, asked[at : min(at + PART, count)], at))
            advance.at(min(at + PART, count))


def answered(engine: Engine, asked: Sequence[str], at: int) -> str:
    """Chats as lines of JSON; ``at`` is the number of the first request."""
    chats: list[list[Message]] = [[{"role": "user", "content": request}] for request in asked]
    prompts = [prompt_ids(engine.tokenizer, chat) for chat in chats]
    sampling = SAMPLING.model_copy(update={"seed": SAMPLING.seed + at})
    answers = engine.generate(prompts, [None] * len(prompts), sampling)
    lines = [
        json.dumps({"messages": [*chat, {"role": "assistant", "content": answer.text.strip()}]})
        for chat, answer in zip(chats, answers, strict=True)
    ]
    return "".join(line + "\n" for line in lines)
