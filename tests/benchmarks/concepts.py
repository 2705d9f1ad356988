"""Does a real model write about what was searched for? The first feature that search returns, beside what it must beat.

Of every concept there are a plain-English query and snippets with and without it, which chose nothing: neither the
features, nor their labels and strengths. Of each, answers to neutral prompts are drawn at temperature 0.7:

    0.7, 1.0        the first feature of the search, at these weights
    turned          the same at weight −1.0
    random          a random direction at the same dose
    DiffMean        the difference of the snippets' means (arXiv 2501.17148) at the same dose; it has seen the judge's
                    snippets, so that it is a bound more than a rival
    prompt          "Talk about <query>." instead of any steering
    prompt + 1.0    both
    unsteered       neither

1. A reference is drawn first: unsteered answers to the prompts that no arm has.
2. A concept's judge is a logistic regression on its snippets, with half of the reference among the negatives. At most
   5 % of the other half may show the concept by it. There are two: on sentence embeddings, and on words.
3. An answer is coherent if it is no less likely under the unsteered model, given its request, than 95 % of the
   reference, and repeats itself no more than 95 % of it. Text about something that nobody asked for is less likely even
   if it is well written; so that is measured given the request "Talk about <query>.", too, and the likelier one counts
   as "readable".
4. Scores are means over concepts of the share of answers that show the concept, with 95 % intervals from drawing
   concepts and answers again.

    python tests/benchmarks/concepts.py MODEL SAE --db DB --concepts concepts.jsonl --prompts eval_prompts.jsonl \
        --embedder FOLDER --answers 40 --keep FOLDER

Answers are kept in a folder, concept by concept, and a run that was stopped goes on there.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from concept_file import Concept, concepts_of, lines
from judges import Coherence, Embed, Judge, embedded, tfidf
from rich.console import Console
from rich.table import Table

from featurehub.artifacts.artifact import Artifact, open_artifact
from featurehub.artifacts.files import sha256, write_text
from featurehub.dictionary import Dictionary
from featurehub.edits import LatentEdit, Steering
from featurehub.engine.config import EngineConfig, HookConfig, SaeConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import Feature, Mode
from featurehub.store import open_store
from featurehub.token_ids import Message, prompt_ids, special_ids

TOKENS, READ = 40, 10
ARMS = ("unsteered", "0.7", "1.0", "turned", "random", "DiffMean", "prompt", "prompt + 1.0")
REFERENCE = 400
OPTIONS = EngineOptions(dtype="float32", kv_cache_gib=2, max_model_len=256)
DRAWS = 2000
output = Console(width=140)


class Arm(NamedTuple):
    """One way of asking for a concept: what is sent, and under which steering."""

    request: str | None
    steering: Steering | None


class Answer(NamedTuple):
    """The ids of a prompt and of its answer, and the answer's text."""

    prompt: list[int]
    ids: list[int]
    text: str


def main() -> None:
    options = parse()
    concepts = concepts_of(options.concepts)
    prompts = [each["prompt"] for each in lines(options.prompts)]
    artifact = open_artifact(options.sae)
    found = [first_found(options.db, artifact, concept.query) for concept in concepts]
    with tempfile.TemporaryDirectory() as folder:
        random, difference = Path(folder, "random"), Path(folder, "difference")
        means = snippet_means(options.model, artifact, concepts)
        rows = [
            write_rows(random, torch.randn(means.shape, generator=torch.Generator().manual_seed(0))),
            write_rows(difference, means),
        ]
        with Engine(options.model, holding(artifact, rows), OPTIONS) as engine:
            reference = kept(
                options.keep / "reference.json",
                lambda: {"unsteered": drawn(engine, [Arm(None, None)], prompts[1::2], REFERENCE, 999_000)},
            )
            answers = [
                kept(
                    options.keep / f"{i:02}.json",
                    lambda c=c, f=f, i=i: asked(
                        engine, arms_of(c, f, i, artifact, rows), prompts[::2], i, options.answers
                    ),
                )
                for i, (c, f) in enumerate(zip(concepts, found, strict=True))
            ]
            meant = [prompt_ids(engine.tokenizer, chat(talk_about(concept))) for concept in concepts]
    fewest = [{arm: own[: options.answers] for arm, own in each.items()} for each in answers]
    report(concepts, found, reference["unsteered"], fewest, meant, options)


def kept(path: Path, ask: Callable[[], dict[str, list[Answer]]]) -> dict[str, list[Answer]]:
    """Answers by arm: those of an earlier start, or new ones, which are kept."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(ask()))
    return {arm: [Answer(*each) for each in own] for arm, own in json.loads(path.read_text("utf-8")).items()}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("sae", type=Path)
    for name in ("db", "concepts", "prompts", "embedder"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--answers", type=int, default=40)
    parser.add_argument("--keep", type=Path, required=True)
    return parser.parse_args()


def first_found(database: Path, artifact: Artifact, query: str) -> Feature | None:
    with closing(open_store(str(database))) as store, store.read() as reader:
        return next(iter(reader.search(query, reader.scope(artifact.manifest.id), 1).features), None)


def snippet_means(model: Path, artifact: Artifact, concepts: Sequence[Concept]) -> torch.Tensor:
    """[concepts, d_model]: mean stream of the positives minus that of the negatives."""
    hook = artifact.manifest.hook
    with Engine(
        model, EngineConfig.capturing(hook, truncated=True), EngineOptions(kv_cache_gib=1, max_model_len=512)
    ) as engine:
        special = special_ids(engine.tokenizer)

        def mean(texts: Sequence[str]) -> torch.Tensor:
            ids = [prompt_ids(engine.tokenizer, text)[:256] for text in texts]
            streams = engine.capture(ids, hook)
            kept = [torch.tensor([i > 0 and token not in special for i, token in enumerate(each)]) for each in ids]
            return torch.stack([x[mask].mean(0) for x, mask in zip(streams, kept, strict=True) if mask.any()]).mean(0)

        return torch.stack([mean(c.positives) - mean(c.negatives) for c in concepts])


def write_rows(folder: Path, rows: torch.Tensor) -> SaeConfig:
    """Rows of length 1 as decoder rows of an SAE that never fires."""
    folder.mkdir()
    rows = torch.nn.functional.normalize(rows, dim=-1)
    count, width = rows.shape
    never = torch.full((count,), 1e9)
    Dictionary(rows, rows, torch.zeros(count), torch.zeros(width), never).save(folder / "sae.safetensors")
    return SaeConfig(id=sha256(folder / "sae.safetensors"), folder=folder, d_sae=count)


def holding(artifact: Artifact, rows: Sequence[SaeConfig]) -> EngineConfig:
    own = EngineConfig.holding(artifact).hooks[0]
    return EngineConfig(hooks=(HookConfig(point=own.point, saes=(*own.saes, *rows)),))


def arms_of(
    concept: Concept, feature: Feature | None, index: int, artifact: Artifact, rows: Sequence[SaeConfig]
) -> dict[str, Arm]:
    """By name; without a feature nothing steers."""
    strength = feature.strength or 0.0 if feature else 0.0
    norm = float(Dictionary.load(artifact.weights).nudges[feature.latent].norm()) if feature else 0.0

    def own(weight: float) -> Steering | None:
        return nudge(artifact.manifest.id, feature.latent, weight * strength) if feature else None

    random, difference = (nudge(each.id, index, strength * norm) for each in rows)
    asking = talk_about(concept)
    return {
        "unsteered": Arm(None, None), "0.7": Arm(None, own(0.7)), "1.0": Arm(None, own(1.0)),
        "turned": Arm(None, own(-1.0)), "random": Arm(None, random), "DiffMean": Arm(None, difference),
        "prompt": Arm(asking, None), "prompt + 1.0": Arm(asking, own(1.0)),
    }  # fmt: skip


def nudge(sae: str, latent: int, value: float) -> Steering:
    return Steering(edits=(LatentEdit(sae=sae, latent=latent, mode=Mode.NUDGE, value=value),))


def talk_about(concept: Concept) -> str:
    return f"Talk about {concept.query}."


def chat(request: str) -> list[Message]:
    return [{"role": "user", "content": request}]


def asked(
    engine: Engine, arms: dict[str, Arm], prompts: Sequence[str], index: int, count: int
) -> dict[str, list[Answer]]:
    """The answers of each arm, in one call. All arms of a concept get the same prompts."""
    rotated = [prompts[(index * count + i) % len(prompts)] for i in range(len(prompts))]
    answers = iter(drawn(engine, list(arms.values()), rotated, count, 1000 * index))
    made = {name: list(islice(answers, count)) for name in arms}
    output.print(f"concept {index + 1}: {len(arms) * count} answers", style="dim")
    return made


def drawn(engine: Engine, arms: Sequence[Arm], prompts: Sequence[str], count: int, seed: int) -> list[Answer]:
    own = [arm.request or prompts[i % len(prompts)] for arm in arms for i in range(count)]
    steerings = [arm.steering for arm in arms for _ in range(count)]
    ids = [prompt_ids(engine.tokenizer, chat(request)) for request in own]
    sampling = Sampling(temperature=0.7, max_tokens=TOKENS, seed=seed)
    answers = engine.generate(ids, steerings, sampling)
    return [Answer(prompt, list(each.token_ids), each.text) for prompt, each in zip(ids, answers, strict=True)]


Scores = dict[str, list[np.ndarray]]
"""By arm, for each concept, what is true of its answers: [answers] bool."""


def report(
    concepts: Sequence[Concept],
    found: Sequence[Feature | None],
    reference: Sequence[Answer],
    answers: Sequence[dict[str, list[Answer]]],
    meant: Sequence[list[int]],
    options: argparse.Namespace,
) -> None:
    plain = [answer.text for answer in reference]
    shares = shown(concepts, answers, plain, embedded(options.embedder), 0.0)
    words = shown(concepts, answers, plain, tfidf(concepts), -np.inf)
    output.print(concept_table(concepts, found, shares))
    coherent, readable = read(answers, meant, Coherence(options.model, reference))
    title = f"{options.answers} answers of each of {len(concepts)} concepts; of them {READ} read for coherence"
    table = Table("", "embedding judge", "median", "concepts ≥ .5", "words judge", "coherent", "readable", title=title)
    for arm in ARMS:
        means = np.array([each.mean() for each in shares[arm]])
        middle, many = f"{np.median(means):.2f}", str((means >= 0.5).sum())
        last = (interval(each[arm]) for each in (words, coherent, readable))
        table.add_row(arm, interval(shares[arm]), middle, many, *last)
    output.print(table)


def shown(
    concepts: Sequence[Concept], answers: Sequence[dict[str, list[Answer]]], plain: list[str], kind: Embed, least: float
) -> Scores:
    """Which answers show their concept."""
    scores: Scores = {arm: [] for arm in ARMS}
    for concept, own in zip(concepts, answers, strict=True):
        judge = Judge(concept.positives, concept.negatives, plain[::2], plain[1::2], kind, least)
        for arm in ARMS:
            scores[arm].append(judge.shows([answer.text for answer in own[arm]]))
    return scores


def read(
    answers: Sequence[dict[str, list[Answer]]], meant: Sequence[list[int]], coherence: Coherence
) -> tuple[Scores, Scores]:
    """Which answers are coherent, and which are at least readable, of those that are read."""
    coherent, readable = ({arm: [] for arm in ARMS} for _ in range(2))
    for own, request in zip(answers, meant, strict=True):
        for arm in ARMS:
            chosen = own[arm][:READ]
            coherent[arm].append(coherence.of(chosen))
            given_meant = coherence.of([answer._replace(prompt=request) for answer in chosen])
            readable[arm].append(coherent[arm][-1] | given_meant)
    return coherent, readable


def concept_table(concepts: Sequence[Concept], found: Sequence[Feature | None], shares: Scores) -> Table:
    table = Table("concept", *ARMS[:3], "DiffMean", "prompt", "what search found")
    for i, (concept, feature) in enumerate(zip(concepts, found, strict=True)):
        label = (feature.label or feature.id) if feature else "nothing"
        own = (f"{shares[arm][i].mean():.2f}" for arm in (*ARMS[:3], "DiffMean", "prompt"))
        table.add_row(concept.name, *own, label)
    return table


def interval(shares: Sequence[np.ndarray]) -> str:
    """The mean over concepts with its 95 % interval."""
    generator, table = np.random.default_rng(0), np.stack(shares).astype(float)
    drawn = [again(table, generator) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{table.mean():.2f} ({low:.2f} to {high:.2f})"


def again(table: np.ndarray, generator: np.random.Generator) -> float:
    """The mean over concepts that are drawn with replacement, and of each as many of its answers."""
    rows = generator.integers(len(table), size=len(table))
    columns = generator.integers(table.shape[1], size=table.shape)
    return float(np.take_along_axis(table[rows], columns, axis=1).mean())


if __name__ == "__main__":
    main()
