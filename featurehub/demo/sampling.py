"""Answers from a demo model, sampled in batches with transformers; for measuring, not for serving."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import DynamicCache, LlamaForCausalLM

from featurehub.demo.tokenizer import ASSISTANT, BOS, EOS, USER, build_tokenizer, token_id

__all__ = ["sample_answers"]

MAX_TOKENS = 160


def sample_answers(
    model: LlamaForCausalLM,
    prompts: Sequence[str],
    *,
    seed: int,
    temperature: float = 0.7,
    max_tokens: int = MAX_TOKENS,
) -> list[str]:
    """Samples one answer to each prompt. All prompts run as one batch; row i is prompt i in every forward pass.

    Args:
        model: The model to ask.
        prompts: User messages, without a chat template.
        seed: The same seed and prompts give the same answers.
        temperature: Sampling temperature, above 0.
        max_tokens: Longest answer, in tokens; a longer one is cut there.

    Returns:
        The answers, in the order of the prompts.
    """
    tokenizer = build_tokenizer()
    sampler = _Sampler(token_id(tokenizer, EOS), temperature, torch.Generator().manual_seed(seed))
    ids, mask = _left_padded([_prompt_ids(tokenizer, prompt) for prompt in prompts], sampler.end)
    said = _generate(model, ids, mask, sampler, max_tokens)
    return [tokenizer.decode(row) for row in _until(said.tolist(), sampler.end)]


@dataclass
class _Sampler:
    """Draws next tokens; a row that has ended keeps repeating ``end``."""

    end: int
    temperature: float
    random: torch.Generator
    done: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.bool))

    def draw(self, logits: Tensor) -> Tensor:
        shares = (logits / self.temperature).softmax(-1)
        drawn = torch.multinomial(shares, 1, generator=self.random).squeeze(1)
        said = torch.where(self.done, self.end, drawn)
        self.done = said == self.end
        return said


@torch.inference_mode()
def _generate(model: LlamaForCausalLM, ids: Tensor, mask: Tensor, sampler: _Sampler, limit: int) -> Tensor:
    cache = DynamicCache(config=model.config)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    said: list[Tensor] = []
    while len(said) < limit and not (said and bool(sampler.done.all())):
        hidden = model.model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache)
        said.append(sampler.draw(model.lm_head(hidden.last_hidden_state[:, -1])))
        ids, positions = said[-1].unsqueeze(1), positions[:, -1:] + 1
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    return torch.stack(said, dim=1)


def _prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    before, after = [token_id(tokenizer, BOS), token_id(tokenizer, USER)], [token_id(tokenizer, ASSISTANT)]
    return before + tokenizer.encode(prompt).ids + after


def _left_padded(rows: list[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    length = max(len(row) for row in rows)
    ids = torch.tensor([[pad] * (length - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def _until(rows: list[list[int]], end: int) -> list[list[int]]:
    return [row[: row.index(end)] if end in row else row for row in rows]
