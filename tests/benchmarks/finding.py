"""Does search find what steers? By words alone, by meaning alone, and by both, as people ask for a concept.

    python tests/benchmarks/finding.py planted [--answers 24] [--paraphrases planted_paraphrases_held_out.json]
    python tests/benchmarks/finding.py MODEL SAE --db DB --concepts concepts.jsonl --prompts eval_prompts.jsonl \
        [--answers 24] [--keep FOLDER]

1. Every concept is asked for by three paraphrases; those of the planted concepts (``planted_paraphrases.json``) were
   written before anybody had searched for them, and those beside it (``planted_paraphrases_held_out.json``) before the
   ranking was changed by looking at the first. The concepts of a file have a plain query besides.
2. Each query is searched in three ways. Meaning alone is ranked as search ranks: relevance² x label score x
   steerability, the relevance being that of the vectors.
3. Every feature among the first five of any way steers, at weight 1.0 and temperature 0.7, answers to prompts that
   chose nothing. A judge that knows no features (the planted model's recogniser; else a regression on the concept's
   snippets, by embeddings) says which of them show the concept.
4. A feature steers a concept if its answers show it more often than unsteered ones, beyond chance: Fisher's exact test,
   one-sided, p < .01.
5. Printed for each way: of how many queries the first hit steers, and of how many one of the first five does; the mean
   share of the first hit's answers that show the concept; and of how many concepts the first hits for all paraphrases
   steer. The control deals the features that were found to other queries.

Answers are kept in ``--keep``, feature by feature: a run that was stopped goes on there.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from concept_file import Concept, concepts_of, lines
from judges import Judge
from rich.console import Console
from rich.table import Table
from scipy.stats import fisher_exact

from featurehub.artifacts.artifact import Artifact, open_artifact
from featurehub.artifacts.files import write_text
from featurehub.cli.progress import ConsoleProgress
from featurehub.edits import LatentEdit, Steering
from featurehub.embedding import open_embedder
from featurehub.engine.config import EngineConfig
from featurehub.engine.offline import Engine, EngineOptions, Sampling
from featurehub.features import Feature, Mode
from featurehub.runs.embed import embed_features
from featurehub.store import QueryVector, Reader, Store, open_store
from featurehub.store.fuse import MEANS, SHOWS
from featurehub.store.search import rank
from featurehub.token_ids import prompt_ids

TOP, DEPTH = 5, 200
UNSTEERED = 400
BATCH = 8
CERTAIN = 0.01
WAYS = ("words", "meaning", "both")
PARAPHRASES = Path(__file__).with_name("planted_paraphrases.json")
Shows = Callable[[str, Sequence[str]], np.ndarray]
"""From a concept's name and texts: which of them show it, [texts] bool."""
console = Console(width=140, highlight=False)


class Subject(NamedTuple):
    """What is searched and steered.

    Attributes:
        queries: By concept, those of a file with the plain one first.
        shows: The judge, once it knows unsteered answers.
        prompts: What is answered.
    """

    model: Path
    artifact: Artifact
    database: str
    queries: Mapping[str, Sequence[str]]
    shows: Callable[[Sequence[str]], Shows]
    prompts: Sequence[str]
    sampling: Sampling
    options: EngineOptions


Found = dict[str, dict[str, list[Feature]]]
"""By query and way, the first features."""
Answers = dict[int, list[str]]
"""By latent; under -1, unsteered ones."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("sae", nargs="?", type=Path)
    for name in ("db", "concepts", "prompts", "keep"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--paraphrases", type=Path, default=PARAPHRASES)
    parser.add_argument("--answers", type=int, default=24)
    options = parser.parse_args()
    subject = planted(options.paraphrases) if options.model == "planted" else of_file(options)
    with tempfile.TemporaryDirectory() as folder:
        found = search(subject)
        answers = steer(subject, found, options.answers, options.keep or Path(folder))
    report(subject, found, answers)


def planted(paraphrases: Path = PARAPHRASES) -> Subject:
    from featurehub.cli.demo.planted import ensure_planted, planted_database
    from featurehub.demo.bundle import bundled_model
    from featurehub.demo.prompts import neutral_prompts
    from featurehub.demo.recognizer import recognize

    def shows(name: str, texts: Sequence[str]) -> np.ndarray:
        return np.array([name in recognize(text).shows for text in texts])

    queries, prompts = json.loads(paraphrases.read_text()), list(neutral_prompts("evaluate"))
    sampling = Sampling(temperature=0.7, max_tokens=96, seed=0)
    return Subject(
        bundled_model(), ensure_planted(), planted_database(), queries, lambda _: shows, prompts, sampling,
        EngineOptions(),
    )  # fmt: skip


def of_file(options: argparse.Namespace) -> Subject:
    concepts = {each.name: each for each in concepts_of(options.concepts)}
    return Subject(
        model=Path(options.model),
        artifact=open_artifact(options.sae),
        database=str(options.db),
        queries={name: each.queries for name, each in concepts.items()},
        shows=lambda plain: judged(concepts, plain),
        prompts=[each["prompt"] for each in lines(options.prompts)],
        sampling=Sampling(temperature=0.7, max_tokens=40, seed=0),
        options=EngineOptions(dtype="float32", kv_cache_gib=1, max_model_len=256),
    )


def judged(concepts: Mapping[str, Concept], plain: Sequence[str]) -> Shows:
    embed, known = open_embedder("minilm").embed, dict[str, np.ndarray]()

    def embedded(texts: Sequence[str]) -> np.ndarray:
        if new := [text for text in dict.fromkeys(texts) if text not in known]:
            known.update(zip(new, embed(new), strict=True))
        return np.stack([known[text] for text in texts])

    halves = list(plain[::2]), list(plain[1::2])
    judges = {name: Judge(each.positives, each.negatives, *halves, embedded) for name, each in concepts.items()}
    return lambda name, texts: judges[name].shows(texts)


def search(subject: Subject) -> Found:
    """Step 2, in a copy of the database with vectors."""
    embedder, queries = open_embedder("minilm"), [q for each in subject.queries.values() for q in each]
    vectors = dict(zip(queries, embedder.embed(queries), strict=True))
    with copied(subject.database) as store:
        embed_features(store, embedder, subject.artifact.manifest.id, ConsoleProgress())
        with store.read() as reader:
            asked = ((query, QueryVector(embedder.identity, vectors[query])) for query in queries)
            return {query: ways(reader, subject.artifact.manifest.id, query, vector) for query, vector in asked}


@contextmanager
def copied(database: str) -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "features.db")
        copy.write_bytes(Path(database).read_bytes())
        with closing(open_store(copy)) as store:
            yield store


def ways(reader: Reader, sae: str, query: str, vector: QueryVector) -> dict[str, list[Feature]]:
    scope = reader.scope(sae)
    both = reader.search(query, scope, DEPTH, vector=vector, explain=True).features
    meant = {each: relevance_by_meaning(each) for each in both}
    by_meaning = sorted((each for each in both if meant[each]), key=lambda each: -ranked(each, meant[each]))
    words = reader.search(query, scope, TOP).features
    return {"words": list(words), "meaning": by_meaning[:TOP], "both": list(both[:TOP])}


def relevance_by_meaning(feature: Feature) -> float:
    scales = {"label": MEANS, "tokens": SHOWS, "contexts": SHOWS}
    return max((scales[f.source] * (f.similarity or 0.0) for f in feature.found if f.source in scales), default=0.0)


def ranked(feature: Feature, relevance: float) -> float:
    steers = feature.expected_steerability if feature.steerability is None else feature.steerability
    return rank(relevance, feature.label_score, steers)


def steer(subject: Subject, found: Found, count: int, keep: Path) -> Answers:
    """Step 3: the answers of every feature that can steer, and unsteered ones."""
    features = {f.latent: f for each in found.values() for way in each.values() for f in way if f.strength}
    keep.mkdir(parents=True, exist_ok=True)
    missing = [at for at in (-1, *sorted(features)) if not (keep / f"{at}.json").is_file()]
    if missing:
        with (
            Engine(subject.model, EngineConfig.holding(subject.artifact), subject.options) as engine,
            ConsoleProgress().work("steering", len(missing), "features") as work,
        ):
            for start in range(0, len(missing), BATCH):
                part = missing[start : start + BATCH]
                for latent, texts in zip(part, answered(engine, subject, part, features, count), strict=True):
                    write_text(keep / f"{latent}.json", json.dumps(texts))
                work(len(part))
    return {at: json.loads((keep / f"{at}.json").read_text()) for at in (-1, *features)}


def answered(
    engine: Engine, subject: Subject, latents: Sequence[int], features: Mapping[int, Feature], count: int
) -> list[list[str]]:
    counts = [UNSTEERED if latent < 0 else count for latent in latents]
    ids = [prompt_ids(engine.tokenizer, [{"role": "user", "content": prompt}]) for prompt in subject.prompts]
    asked = [ids[(7 * latent + i) % len(ids)] for latent, own in zip(latents, counts, strict=True) for i in range(own)]
    steerings = [
        nudge(features[at]) if at >= 0 else None for at, own in zip(latents, counts, strict=True) for _ in range(own)
    ]
    sampling = subject.sampling.model_copy(update={"seed": 1000 * (latents[0] + 2)})
    texts = [answer.text for answer in engine.generate(asked, steerings, sampling)]
    ends = np.cumsum(counts)
    return [texts[end - own : end] for end, own in zip(ends, counts, strict=True)]


def nudge(feature: Feature) -> Steering:
    edit = LatentEdit(sae=feature.artifact, latent=feature.latent, mode=Mode.NUDGE, value=feature.strength or 0.0)
    return Steering(edits=(edit,))


class Steers:
    """Whether a feature steers a concept (step 4), and the share of its answers that show it."""

    def __init__(self, shows: Shows, answers: Answers) -> None:
        self.shows, self.answers = shows, answers
        self.known: dict[tuple[str, int], np.ndarray] = {}

    def shown(self, concept: str, latent: int) -> np.ndarray:
        if (concept, latent) not in self.known:
            self.known[concept, latent] = self.shows(concept, self.answers[latent])
        return self.known[concept, latent]

    def share(self, concept: str, feature: Feature | None) -> float:
        return float(self.shown(concept, feature.latent if feature and feature.strength else -1).mean())

    def steers(self, concept: str, feature: Feature) -> bool:
        if not feature.strength:
            return False
        steered, plain = self.shown(concept, feature.latent), self.shown(concept, -1)
        table = [[steered.sum(), (~steered).sum()], [plain.sum(), (~plain).sum()]]
        return float(fisher_exact(table, alternative="greater")[1]) < CERTAIN


def report(subject: Subject, found: Found, answers: Answers) -> None:
    steers = Steers(subject.shows(answers[-1]), answers)
    queries = [(concept, query) for concept, each in subject.queries.items() for query in each]
    table = Table("way", "first hit steers", "one of five", "shown by the first", "concepts, all paraphrases")
    for way in WAYS:
        table.add_row(way, *row(steers, queries, {query: found[query][way] for _, query in queries}))
    order = np.random.default_rng(0).permutation(len(queries))
    dealt = {query: found[queries[at][1]]["both"] for (_, query), at in zip(queries, order, strict=True)}
    table.add_row("both, dealt to others", *row(steers, queries, dealt))
    unsteered = np.mean([steers.share(concept, None) for concept, _ in queries])
    title = f"{len(subject.queries)} concepts, {len(queries)} queries, {len(answers) - 1} features"
    console.print(table, f"{title}; unsteered answers show a concept to {unsteered:.2f}")
    for concept, each in subject.queries.items():
        first = [next(iter(found[query]["both"]), None) for query in each]
        said = ", ".join(
            f"{f.label or f.id if f else 'nothing'} {steers.share(concept, f):.2f}"
            f"{'' if f and steers.steers(concept, f) else ' (no)'}"
            for f in first
        )
        console.print(f"  {concept}: {said}", style="dim", soft_wrap=True)


def row(steers: Steers, queries: Sequence[tuple[str, str]], found: Mapping[str, Sequence[Feature]]) -> list[str]:
    hits = {query: [steers.steers(concept, each) for each in found[query]] for concept, query in queries}
    first = {query: bool(each and each[0]) for query, each in hits.items()}
    shares = [steers.share(concept, next(iter(found[query]), None)) for concept, query in queries]
    concepts = {concept: [q for c, q in queries if c == concept][-3:] for concept, _ in queries}
    whole = [all(first[query] for query in each) for each in concepts.values()]
    figures = (np.mean([*first.values()]), np.mean([any(each) for each in hits.values()]), np.mean(shares))
    return [*(f"{figure:.2f}" for figure in figures), f"{np.mean(whole):.2f} ({sum(whole)} of {len(whole)})"]


if __name__ == "__main__":
    main()
