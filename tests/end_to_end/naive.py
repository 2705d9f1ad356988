"""Chats as transformers and an SAE's own encoder read them: the twin of every read of a server.

Nothing is batched, cached or cut: each chat runs through the whole model by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from featurehub.artifacts.artifact import Artifact
from featurehub.dictionary import Dictionary
from featurehub.sdk.client import Client

__all__ = ["NaiveContrast", "NaiveReader", "latents_of"]

Chat = Sequence[Mapping[str, str]]


class NaiveContrast(NamedTuple):
    """What ``ContrastRow`` says of a latent."""

    effect: float
    mean_1: float
    mean_2: float
    accuracy: float


class NaiveReader:
    """Reads chats, as the template of the model's tokenizer renders them.

    Args:
        model: Folder of the model.
        artifact: The SAE.
    """

    def __init__(self, model: Path, artifact: Artifact) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self.dictionary, self.layer = Dictionary.load(artifact.weights), artifact.manifest.hook.layer

    def rendered(self, chat: Chat) -> tuple[list[int], list[bool]]:
        """The chat's tokens, and which lie in a message's content, by the place of their text in the whole."""
        text = self.tokenizer.apply_chat_template(chat, tokenize=False)
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        within, end = list[tuple[int, int]](), 0
        for each in chat:
            start = text.index(each["content"], end)  # One that was said before is found where it is said again.
            within.append((start, end := start + len(each["content"])))
        return encoded["input_ids"], [
            any(start <= a and b <= stop and a < b for start, stop in within) for a, b in encoded["offset_mapping"]
        ]

    def activations(self, ids: list[int]) -> Tensor:
        """[tokens, d_sae]"""
        streams: list[Tensor] = []
        layer = self.model.get_submodule(f"model.layers.{self.layer}")
        handle = layer.register_forward_hook(lambda module, args, output: streams.append(output[0]))
        with torch.no_grad():
            self.model(torch.tensor([ids]))
        handle.remove()
        return self.dictionary.encode(streams[0])

    def mean(self, chat: Chat) -> NDArray[np.float64]:
        """[d_sae] mean activations over the content."""
        ids, content = self.rendered(chat)
        return self.activations(ids)[torch.tensor(content)].double().mean(0).numpy()

    def contrast(self, dataset_1: Sequence[Chat], dataset_2: Sequence[Chat]) -> dict[int, NaiveContrast]:
        """Every latent that is active in a first half, as ``api.analysis.contrast`` defines its numbers."""
        x, y = (np.stack([self.mean(chat) for chat in each]) for each in (dataset_1, dataset_2))
        active = np.flatnonzero((x[::2] > 0).any(0) | (y[::2] > 0).any(0)).tolist()
        spreads = {f: np.sqrt((np.sqrt(x[::2, f]).var() + np.sqrt(y[::2, f]).var()) / 2) for f in active}
        constant = float(np.median(list(spreads.values()))) or 1.0
        return {f: self._latent(x[:, f], y[:, f], float(spreads[f]) + constant) for f in active}

    @staticmethod
    def _latent(x: NDArray[np.float64], y: NDArray[np.float64], spread: float) -> NaiveContrast:
        mean_1, mean_2 = float(x[::2].mean()), float(y[::2].mean())
        cut, greater = (mean_1 + mean_2) / 2, mean_1 > mean_2
        right = [
            np.mean([0.5 if each == cut else float((each > cut) == side) for each in own[1::2]])
            for own, side in ((x, greater), (y, not greater))
        ]
        effect = (np.sqrt(x[::2]).mean() - np.sqrt(y[::2]).mean()) / spread
        return NaiveContrast(float(effect), mean_1, mean_2, float(np.mean(right)))


def latents_of(client: Client) -> Callable[[str], int]:
    """Finds a latent's index by what answers call it: a feature's id, or ``sae:<artifact>/<latent>``."""
    latents = {each.id: each.latent for each in client.features.list()}
    return lambda id: int(id.rpartition("/")[2]) if id.startswith("sae:") else latents[id]
