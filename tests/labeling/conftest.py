"""A small planted corpus: chats that ask for a topic, and latents of which we know what they fire on."""

from random import Random

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from labeling import Corpus

TOPICS = {
    "banking": ("loan", "teller", "vault", "cheque", "deposit", "branch"),
    "weather": ("rain", "storm", "cloud", "wind", "snow", "branch"),
    "music": ("song", "drum", "choir", "melody", "stage", "record"),
}
ANYWHERE, TOKEN, ALWAYS, RARE, DEAD = 3, 4, 5, 6, 7
D_SAE = 8


def draw(random: Random) -> tuple[list[str], list[dict[int, float]]]:
    """The pieces of one chat, and of each token the activations by latent."""
    topic = random.choice(list(TOPICS))
    latent = list(TOPICS).index(topic)
    pieces, fires = [""], [{}]
    for word in ("tell", "me", "about", topic):
        pieces.append(f" {word}")
        fires.append({ALWAYS: 1.0})
    pieces.append("")
    fires.append({})
    for _ in range(random.randint(2, 4)):
        words = ["the", *random.sample(TOPICS[topic], 2), "is", random.choice(["good", "bad", topic])]
        strength = random.uniform(0.8, 1.2)
        for word in words:
            pieces.append(f" {word}")
            fires.append({latent: strength, ALWAYS: 1.0} | ({TOKEN: 2.0} if word == "storm" else {}))
        pieces.append(".")
        fires.append({latent: 0.05, ANYWHERE: 1.0} if random.random() < 0.4 else {})
    if random.random() < 0.004:
        fires[2] = {RARE: 1.0}
    return pieces, fires


def planted(count: int, seed: int = 0) -> Corpus:
    random = Random(seed)
    documents, rows = zip(*(draw(random) for _ in range(count)), strict=True)
    flat = [row for document in rows for row in document]
    indptr = np.cumsum([0, *(len(row) for row in flat)])
    indices = [latent for row in flat for latent in row]
    data = np.array([value for row in flat for value in row.values()], dtype=np.float32)
    matrix = csr_matrix((data, indices, indptr), shape=(len(flat), D_SAE))
    return Corpus(documents, matrix, np.cumsum([0, *(len(document) for document in documents)]))


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """600 chats; latents 0..2 are the topics, 3 fires on full stops, 4 on one word, 5 everywhere, 6 rarely, 7 never."""
    return planted(600)
