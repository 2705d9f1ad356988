"""``api.engine.SteeringEngine`` on vLLM's client to its engine."""

import asyncio
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from typing import Any

from vllm import RequestOutput, SamplingParams, TokensPrompt
from vllm.engine.protocol import EngineClient
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.exceptions import EngineDeadError

from api.engine import LEAST_LOGPROB, DeviceWeights, Overhead, Tokens
from api.model import HookCheck
from api.request import XARGS_KEY
from featurehub.artifacts.artifact import Artifact
from featurehub.edits import Steering
from featurehub.engine.admission import admit_under, salt_with
from featurehub.engine.config import EngineConfig
from featurehub.errors import EngineUnavailable, InvalidConfig, InvalidInput, SteeringUnsupported
from featurehub.input_drift.sample import Sample
from featurehub.pieces import pieces
from featurehub.report import Wire
from featurehub.template import TemplateTokens
from featurehub.token_ids import Message, chat_ids, special_ids, text_ids

__all__ = ["VllmEngine", "gone_if_dead"]

CAPTURED = (
    "the graphs that this engine captured hold the addresses of its SAEs, so they cannot be exchanged while it runs: "
    "start it with --eager, or start it anew with the other SAEs"
)
GONE = "the engine is gone; the server restarts it or ends. Try again later."
OTHER_NUMBERS = (
    "this server was started with --logprobs-mode {}, so it returns no log-probabilities of the model's own "
    "distribution: start it without this option"
)
CONTINUED = ({"add_generation_prompt": True}, {"continue_final_message": True})
"""How a chat is rendered for the model to write on: by whether its last message is the assistant's."""


@contextmanager
def gone_if_dead() -> Iterator[None]:
    """Raises EngineUnavailable where vLLM raises that its engine is dead."""
    try:
        yield
    except EngineDeadError as error:
        raise EngineUnavailable(GONE) from error


class VllmEngine:
    """The running engine.

    Each call stops the engine's loop for a moment. What is asked for while one is under way goes together in the next.

    Attributes:
        client: vLLM's client to the engine process.
        held: What the engine holds.
        keys: The keys that the next call asks for.
        next: That call; None until somebody asks.
        under_way: Held by the call that is under way.
    """

    def __init__(self, client: EngineClient) -> None:
        self.client = client
        self.keys: list[str] = []
        self.next: asyncio.Task[Mapping[str, Sequence[Wire]]] | None = None
        self.under_way = asyncio.Lock()

    @property
    def context(self) -> int:
        """How many tokens a prompt and its answer can have together."""
        return self.client.model_config.max_model_len

    async def report(self, key: str) -> Sequence[Wire]:
        """Takes the reports that a worker kept under ``key``, if any has some. Raises EngineUnavailable."""
        self.keys.append(key)
        call = self.next = self.next or asyncio.create_task(self.reports())
        with gone_if_dead():
            # Shielded: a client that goes away must not take the others' reports with it.
            return (await asyncio.shield(call)).get(key, ())

    async def reports(self) -> Mapping[str, Sequence[Wire]]:
        """Takes the reports of all keys that wait, by key. Raises EngineDeadError."""
        async with self.under_way:
            keys, self.keys, self.next = self.keys, [], None
            workers = await self.client.collective_rpc("featurehub_reports", args=(keys,))
        return {key: own for reports in reversed(workers) for key, own in zip(keys, reports, strict=True) if own}

    @cached_property
    def held(self) -> EngineConfig:
        """What vLLM was started with; ``exchange`` puts another in its place. Raises InvalidConfig without ours."""
        config = EngineConfig.of(self.client.vllm_config)
        if config is None:
            raise InvalidConfig("this engine was not started by featurehub")
        return config

    async def add(self, artifacts: Sequence[Artifact]) -> None:
        """Holds these SAEs too. Raises InvalidConfig, SteeringUnsupported, EngineUnavailable."""
        await self.exchange(self.held.with_saes(*(a for a in artifacts if a.manifest.id not in self.held.saes)))

    def admit_only(self, saes: Collection[str]) -> None:
        """Admits requests for these SAEs, and refuses those for others."""
        admit_under(self.client.input_processor, self.held.only(saes))

    async def keep_only(self, saes: Collection[str]) -> None:
        """Lets go of all others. Raises InvalidConfig, SteeringUnsupported, EngineUnavailable."""
        await self.exchange(self.held.only(saes))

    async def exchange(self, config: EngineConfig) -> None:
        """Gives every worker the SAEs of another configuration, or none of them."""
        if config == self.held:
            return
        if captures_graphs(self.client.vllm_config):
            raise SteeringUnsupported(CAPTURED)
        with gone_if_dead():
            asked = (config.model_dump(mode="json"),)
            refusals = await self.client.collective_rpc("featurehub_prepare", args=asked)
            if refused := next(filter(None, refusals), ""):
                raise InvalidConfig(refused)
            await self.client.collective_rpc("featurehub_exchange")
        self.held = config

    async def checks(self) -> Mapping[str, HookCheck]:
        """What the workers found at their hook points when they booted: the worst of each.

        Raises:
            EngineUnavailable: The engine is gone.
            InvalidConfig: A worker's model has no hooks.
        """
        with gone_if_dead():
            workers = await self.client.collective_rpc("featurehub_findings")
        if None in workers:
            raise InvalidConfig("a worker of this engine has a model without featurehub's hooks")
        found = [(point, HookCheck(error=error, bound=bound)) for rows in workers for point, _, error, bound in rows]
        measured = sorted((each for each in found if each[0] and each[1].bound), key=lambda each: each[1].error)
        return dict(measured)

    async def weights(self) -> DeviceWeights:
        """The weights that the engine computes with, and the identity of the first worker's. Raises EngineUnavailable.

        Each worker of several has its own part of them; its rank stands before the names.
        """
        with gone_if_dead():
            workers = await self.client.collective_rpc("featurehub_weights")
        ranked = len(workers) > 1
        sums = {f"{rank}:{n}" if ranked else n: s for rank, (_, own) in enumerate(workers) for n, s in own.items()}
        return DeviceWeights(workers[0][0], sums)

    async def identity(self) -> str:
        """The identity of these weights. Raises EngineUnavailable."""
        with gone_if_dead():
            return (await self.client.collective_rpc("featurehub_identity"))[0]

    def renew(self, salt: str) -> None:
        """Salts the KV blocks of requests from now on with this, too."""
        self.held = self.held.model_copy(update={"weights": salt})
        salt_with(self.client.input_processor, salt)

    async def alive(self) -> bool:
        """Whether the engine passes vLLM's health check."""
        try:
            await self.client.check_health()
        except EngineDeadError:
            return False
        return True

    async def overhead(self) -> Overhead:
        """What our part of its steps has cost; of several workers, the most of each. Raises EngineUnavailable."""
        with gone_if_dead():
            workers = await self.client.collective_rpc("featurehub_overhead")
        return Overhead(**{name: max(worker[name] for worker in workers) for name in Overhead._fields})

    async def sampled(self, share: float) -> tuple[Sequence[Sample], float]:
        """Takes the samples of what the first worker reads, as ``SteeringEngine.sampled`` describes it."""
        with gone_if_dead():
            wires, seconds = (await self.client.collective_rpc("featurehub_sampled", args=(share,)))[0]
        return [Sample.of(wire) for wire in wires], seconds

    @cached_property
    def tokenizer(self) -> Any:
        """Our own copy of the tokenizer, since vLLM uses its own in other threads."""
        return deepcopy(self.client.renderer.get_tokenizer())

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """The text that each token adds to those before it, special tokens included."""
        return pieces(self.tokenizer, token_ids, special=True)

    @cached_property
    def template(self) -> TemplateTokens:
        """What the model's chat template adds to every chat."""
        return TemplateTokens.of(self.tokenizer, special_ids(self.tokenizer))

    def tokens(self, text: str | Sequence[Message], *, to_continue: bool = False) -> Tokens:
        """A text or a chat as token ids. Raises InvalidInput where it cannot be rendered, or is too long."""
        if isinstance(text, str):
            ids = text_ids(self.tokenizer, text)
        else:
            ids = chat_ids(self.tokenizer, text, **(CONTINUED[text[-1]["role"] == "assistant"] if to_continue else {}))
        longest = self.context - 1
        if not 1 <= len(ids) <= longest:
            raise InvalidInput(f"{len(ids):,} tokens; this server reads 1 to {longest:,} at once")
        template = self.template.mask(ids)
        content = [at > 0 and token not in self.template.special and not template[at] for at, token in enumerate(ids)]
        return Tokens(ids, content)

    def token_ids(self, text: str) -> list[int]:
        """The tokens of a piece of text. Raises InvalidInput where it holds half a character."""
        return text_ids(self.tokenizer, text, special=False)

    async def generate(
        self, token_ids: Sequence[int], steering: Steering, *, tokens: int, temperature: float, seed: int
    ) -> list[int]:
        """What the model goes on with under a steering. Raises InvalidEdit, EngineUnavailable."""
        carried = {} if steering.is_nothing else {XARGS_KEY: steering.to_request()}
        params = SamplingParams(max_tokens=tokens, temperature=temperature, seed=seed, extra_args=carried)
        [answer] = (await self.output(token_ids, params, steering.report)).outputs
        return [*answer.token_ids]

    async def likelihoods(self, token_ids: Sequence[int], start: int) -> list[float]:
        """The log-probability of each token from ``start`` on, as ``SteeringEngine.likelihoods`` describes it."""
        self.checked(1, None)
        read = await self.output(token_ids, SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0))
        known = (read.prompt_logprobs or [])[start:]
        return [each[token].logprob for token, each in zip(token_ids[start:], known, strict=True) if each]

    async def output(self, token_ids: Sequence[int], params: SamplingParams, key: str = "") -> RequestOutput:
        """What vLLM answers, once it is done. Raises InvalidEdit, EngineUnavailable."""
        params.output_kind = RequestOutputKind.FINAL_ONLY
        prompt, id = TokensPrompt(prompt_token_ids=list(token_ids)), f"featurehub-{key or uuid.uuid4().hex}"
        with gone_if_dead():
            [found] = [each async for each in self.client.generate(prompt, params, request_id=id)]
        return found

    async def run(
        self, token_ids: Sequence[int], steering: Steering, *, top: int = 0, chosen: int | None = None
    ) -> Mapping[int, float]:
        """Lets the model read these tokens under a steering, as ``SteeringEngine.run`` describes it."""
        params = SamplingParams(
            max_tokens=1, temperature=0, extra_args={XARGS_KEY: steering.to_request()},
            logprobs=self.checked(top, chosen), allowed_token_ids=None if chosen is None else [chosen],
        )  # fmt: skip
        prompt, id = TokensPrompt(prompt_token_ids=list(token_ids)), f"featurehub-{uuid.uuid4().hex}"
        with gone_if_dead():
            answers = [answer async for answer in self.client.generate(prompt, params, request_id=id)]
        [found] = answers[-1].outputs[0].logprobs or [{}]
        likeliest = sorted((each.rank or 0, token, max(each.logprob, LEAST_LOGPROB)) for token, each in found.items())
        return {token: logprob for rank, token, logprob in likeliest if token == chosen or 0 < rank <= top}

    def checked(self, top: int, chosen: int | None) -> int | None:
        """How many log-probabilities vLLM is asked for; None for none.

        The chosen token is the only one that may be sampled, whose log-probability vLLM adds to the others; it was
        computed before. ``SamplingParams.logprob_token_ids`` would blank those of other requests in the same step.

        Raises:
            InvalidInput: The engine returns fewer, or no token is the chosen one.
            SteeringUnsupported: The engine returns something else.
        """
        if chosen is None and not top:
            return None
        config = self.client.model_config
        most = config.get_vocab_size() if config.max_logprobs == -1 else config.max_logprobs
        if top > most:
            raise InvalidInput(f"{top} next tokens; this server returns at most {most} (vLLM's --max-logprobs)")
        if chosen is not None and not 0 <= chosen < config.get_vocab_size():
            raise InvalidInput(f"no token has the id {chosen}; this model has 0 to {config.get_vocab_size() - 1}")
        if config.logprobs_mode != "raw_logprobs":
            raise SteeringUnsupported(OTHER_NUMBERS.format(config.logprobs_mode))
        return top


def captures_graphs(vllm_config: Any) -> bool:
    """Whether the engine may have captured graphs: not on a CPU, and not in eager mode."""
    return vllm_config.device_config.device_type != "cpu" and not vllm_config.model_config.enforce_eager
