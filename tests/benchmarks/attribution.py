"""Does `attribute` name the features that made a token likely? Its effects against ablation in transformers.

    python tests/benchmarks/attribution.py planted [--chats 30]
    python tests/benchmarks/attribution.py smollm2 [--chats 6]

1. Chats: held-out ones of the planted corpus; of SmolLM2 the first words of its own answers. Of each, a token in the
   second half is drawn, and explained by a running server with as many candidates as it takes.
2. The truth is computed apart from the server: transformers in float32, with a hook that takes a_f(t) · W_dec[f] out of
   the stream at the tokens after the first, for each active feature f by itself.
3. The gradient of the token's log-probability by the stream at the hook point, times a_f(t) · W_dec[f], summed over
   these tokens, is what a backward pass would say.
4. Printed, as means over the chats: Spearman's rank correlation with the truth, of what the server measured, of the
   gradient and (with |truth|) of the score that chooses candidates, over all features that were measured; and the
   share of the ten strongest features that is among the 48 with the highest scores, or |gradients|.
5. And how long an answer takes with the options that a request has by default, in readings of the same tokens.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from statistics import mean, median
from typing import Any, NamedTuple

import torch
from machine import machine
from scipy.stats import spearmanr
from torch import Tensor
from transformers import AutoModelForCausalLM

from featurehub.artifacts.artifact import open_artifact
from featurehub.cli.demo.serving import NAME, Demo, planted, smollm2
from featurehub.cli.server import free_port, served
from featurehub.demo.corpus import conversations, messages
from featurehub.dictionary import Dictionary
from featurehub.sdk.client import Client

MOST, DEFAULT, STRONGEST = 256, 48, 10
BATCH = 16
WORDS = 24
PROMPTS = (
    "Tell me a short story.", "What is photosynthesis?", "How do I bake bread?", "Write a poem about the sea.",
    "Explain what a loan is.", "Why is the sky blue?", "Give me advice on learning to swim.", "Who was Marie Curie?",
)  # fmt: skip
Chat = list[dict[str, str]]


class Model(NamedTuple):
    """The model and its SAE in transformers.

    Attributes:
        model: In float32.
        block: The layer after which the SAE reads.
        sae: The SAE's encoder and decoder.
    """

    model: Any
    block: Any
    sae: Dictionary

    @classmethod
    def of(cls, demo: Demo) -> "Model":
        artifact = open_artifact(demo.sae)
        model: Any = AutoModelForCausalLM.from_pretrained(demo.model, dtype=torch.float32).eval()
        block = model.get_submodule(f"model.layers.{artifact.manifest.hook.layer}")
        return cls(model, block, Dictionary.load(artifact.weights))

    def logprobs(self, ids: list[int], changed: Any, copies: int = 1) -> Tensor:
        """[copies, vocab] of the next token, where ``changed`` makes another stream of that after the block."""
        handle = self.block.register_forward_hook(lambda module, args, output: changed(output))
        try:
            return self.model(torch.tensor([ids] * copies), use_cache=False).logits[:, -1].log_softmax(-1)
        finally:
            handle.remove()

    def truth(self, ids: list[int], target: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The latents that are active after the first token; their effects, gradients and scores."""
        seen: list[Tensor] = []

        def keep(stream: Tensor) -> Tensor:
            seen.append(stream.detach().requires_grad_())
            return seen[0]

        base = self.logprobs(ids, keep)[0, target]
        base.backward()
        assert seen[0].grad is not None
        with torch.no_grad():
            a = self.sae.encode(seen[0][0])
            a[0] = 0
            latents = a.amax(0).nonzero()[:, 0]
            a, rows = a[:, latents], self.sae.W_dec[latents]
            gradient = torch.einsum("tf,td,fd->f", a, seen[0].grad[0], rows)
            score = (a / (len(ids) - torch.arange(len(ids)))[:, None]).amax(0)
            effects = torch.cat([self.effects(ids, target, base, a[:, i], rows[i]) for i in batches(len(latents))])
        return latents, effects, gradient, score

    def effects(self, ids: list[int], target: int, base: Tensor, a: Tensor, rows: Tensor) -> Tensor:
        gone = a.T[:, :, None] * rows[:, None]
        return base - self.logprobs(ids, lambda stream: stream - gone, len(rows))[:, target]


def batches(count: int) -> Iterator[slice]:
    return (slice(start, start + BATCH) for start in range(0, count, BATCH))


def chats(name: str, client: Client, count: int) -> Iterator[Chat]:
    if name == "planted":
        yield from (messages(each) for each in islice(conversations(77, split="held-out"), count))
        return
    for prompt in PROMPTS[:count]:
        asked: Any = [{"role": "user", "content": prompt}]
        answer = client.chat.completions.create(model=NAME, messages=asked, max_tokens=WORDS, temperature=0)
        yield [*asked, {"role": "assistant", "content": answer.choices[0].message.content}]


def overlap(of: Tensor, by: Tensor) -> float:
    """The share of the strongest features that are among those that are chosen."""
    strongest = of.abs().topk(min(STRONGEST, len(of))).indices.tolist()
    chosen = by.topk(min(DEFAULT, len(by))).indices.tolist()
    return len({*strongest} & {*chosen}) / len(strongest)


def latents_of(client: Client, chat: Chat) -> dict[str, int]:
    return {each.id: each.latent for each in client.features.activations(chat).features}


def one(client: Client, model: Model, chat: Chat, random: Random) -> dict[str, float]:
    """The numbers of one chat."""
    ids = [each.id for each in client.tokenize(chat)]
    said = [at for at, content in enumerate(client.features.activations(chat).content) if content]
    position = random.choice(said[len(said) // 2 :])
    found = client.features.attribute(chat, position=position, candidates=MOST, limit=MOST, tokens=0)
    latents, truth, gradient, score = model.truth(ids[:position], ids[position])
    place, known = {latent: at for at, latent in enumerate(latents.tolist())}, latents_of(client, chat)
    at = torch.tensor([place[known[each.id]] for each in found.features])
    effects = [each.effect for each in found.features]
    return {
        "active": found.active,
        "measured": found.measured,
        "largest effect": float(truth.abs().max()),
        "farthest from the truth": float((torch.tensor(effects) - truth[at]).abs().max()),
        "server": float(spearmanr(effects, truth[at]).statistic),
        "gradient": float(spearmanr(gradient[at], truth[at]).statistic),
        "score": float(spearmanr(score[at], truth[at].abs()).statistic),
        "strongest in score": overlap(truth, score),
        "strongest in gradient": overlap(truth, gradient.abs()),
        "readings": readings(client, chat, position),
    }


def readings(client: Client, chat: Chat, position: int) -> float:
    """How long an answer takes with the default options, in readings of the tokens by ``inspect``."""
    start = time.perf_counter()
    client.features.attribute(chat, position=position)
    took = time.perf_counter() - start
    singles: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        client.features.inspect(chat)
        singles.append(time.perf_counter() - start)
    return took / median(singles)


def show(name: str, rows: Sequence[dict[str, float]]) -> None:
    print(f"{name}, {len(rows)} tokens; {machine()}")
    for key in rows[0]:
        values = [row[key] for row in rows]
        print(f"  {key:<26}{mean(values):10.3f}   least {min(values):9.3f}   most {max(values):9.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=("planted", "smollm2"))
    parser.add_argument("--chats", type=int, default=30)
    asked = parser.parse_args()
    demo = planted() if asked.model == "planted" else smollm2()
    model, random, rows = Model.of(demo), Random(0), []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        with (
            served([*demo.arguments, "--dtype", "float32"], free_port(), log) as url,
            Client(base_url=url, max_retries=0, timeout=600) as client,
        ):
            for chat in chats(asked.model, client, asked.chats):
                rows.append(one(client, model, chat, random))
                print(f"{len(rows)}: { ({key: round(value, 3) for key, value in rows[-1].items()}) }", flush=True)
    show(asked.model, rows)


if __name__ == "__main__":
    main()
