"""Admission: at the engine's boundary, before a request reaches the scheduler, whichever frontend it came through.

1. Its steering is read from ``extra_args`` and checked against what the engine holds. What is wrong is an InvalidEdit
   that vLLM knows as the client's error, so that its frontends hand it on and its server answers 400.
2. Its KV blocks get a ``cache_salt`` of their own: the client's, the steering, and the loaded weights. A request whose
   every token must be computed (it reads, or carries aborts) shares blocks with no other.
3. A request with aborts may be stopped by the engine with the model's end-of-sequence token.

``LLM``, ``AsyncLLM`` and the server all make requests in ``InputProcessor.process_inputs``; vLLM offers no seam there
that both of its model runners take, so that method is wrapped, once. The worker checks again.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from featurehub.edits import LARGEST, LatentEdit, Steering
from featurehub.engine.config import KEY, EngineConfig
from featurehub.engine.wrapping import run_after
from featurehub.errors import InvalidEdit
from featurehub.settings import reason

__all__ = ["admit", "carried", "check", "install"]


def carried(extra_args: dict[str, Any] | None) -> Steering | None:
    """The steering in a request's ``extra_args``. Raises InvalidEdit for one that cannot be read."""
    text = (extra_args or {}).get(KEY)
    if text is None:
        return None
    if not isinstance(text, str):
        raise InvalidEdit(f"extra_args.{KEY} must be a steering as a JSON string, not {type(text).__name__}", param=KEY)
    try:
        return Steering.model_validate_json(text)
    except ValidationError as error:
        raise InvalidEdit(f"extra_args.{KEY} is no steering: {reason(error)}", param=KEY) from None


def check(steering: Steering, config: EngineConfig) -> Steering:
    """The steering with every SAE's name filled in. Raises InvalidEdit naming what the engine cannot do."""
    steering = named(steering, config)
    if len(steering.edits) > config.max_edits:
        raise InvalidEdit(f"{len(steering.edits)} edits in one request; this engine takes at most {config.max_edits}")
    conditions = set(steering.conditions())
    if max(len(conditions), len(steering.aborts)) > config.max_conditions:
        raise InvalidEdit(f"{len(conditions)} conditions in one request; at most {config.max_conditions} are allowed")
    for each in (*steering.edits, *conditions):
        check_latents(each.sae, [each.latent], config)
        if abs(each.value) > LARGEST:
            raise InvalidEdit(f"latent {each.latent}: the value {each.value} is beyond ±{LARGEST:g}")
    for read in steering.reads:
        check_latents(read.sae, read.latents, config)
    for edit in steering.edits:
        check_order(edit, config)
    points = {str(hook.point) for hook in config.hooks}
    for name in set(steering.capture) - points:
        raise InvalidEdit(f"no hook point {name!r} to capture; this engine has {', '.join(sorted(points))}")
    if (steering.capture or steering.reads) and not steering.report:
        raise InvalidEdit("what a request reads is kept under its report key; give it one")
    return steering


def named(steering: Steering, config: EngineConfig) -> Steering:
    """With "" replaced by the id of the engine's first SAE, so that equal steerings are equal texts."""
    unknown = steering.saes() - config.saes.keys()
    if not unknown:
        return steering
    if unknown != {""} or not config.saes:
        missing = min(unknown) or "(the first)"
        raise InvalidEdit(f"this engine does not hold the SAE {missing}; it holds {', '.join(config.saes) or 'none'}")
    first = next(iter(config.saes))

    def fill(fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "sae": first} if fields.get("sae") == "" else fields

    return Steering.model_validate(json.loads(steering.to_json(), object_hook=fill))


def check_latents(sae: str, latents: Iterable[int], config: EngineConfig) -> None:
    d_sae = config.saes[sae].d_sae
    for latent in latents:
        if not 0 <= latent < d_sae:
            raise InvalidEdit(f"latent {latent}: the SAE has latents 0 to {d_sae - 1}")


def check_order(edit: LatentEdit, config: EngineConfig) -> None:
    """Raises InvalidEdit for a condition that a token meets only after the edit."""
    if edit.when is None:
        return
    order = {sae.id: hook.point for hook in config.hooks for sae in hook.saes}
    for condition in edit.when.conditions:
        if order[condition.sae].order > order[edit.sae].order:
            raise InvalidEdit(
                f"an edit at {order[edit.sae]} cannot wait for a condition at {order[condition.sae]}, "
                "which a token reaches later"
            )


def admit(request: Any, config: EngineConfig, eos_token_id: int | None) -> None:
    """Checks a vLLM ``EngineCoreRequest`` and completes it. Raises InvalidEdit."""
    params = request.sampling_params
    steering = carried(params.extra_args) if params is not None else None
    if params is None or steering is None:
        return
    steering = check(steering, config)
    if steering.needs_every_token and params.n > 1:
        raise InvalidEdit("a request that reads activations or carries aborts gives one answer; send n = 1")
    if steering.aborts:
        steering = steering.model_copy(update={"stop_token": make_stoppable(params, eos_token_id)})
    params.extra_args = {**params.extra_args, KEY: steering.to_json()}
    if not steering.is_nothing:
        request.cache_salt = salt(steering, request.cache_salt, config, request.request_id)


def salt(steering: Steering, own: str | None, config: EngineConfig, request_id: str) -> str:
    """64 hexadecimal digits: equal for requests whose KV blocks are interchangeable."""
    alone = request_id if steering.needs_every_token else ""
    return hashlib.sha256(json.dumps([own, steering.digest(), config.weights, alone]).encode()).hexdigest()


def make_stoppable(params: Any, eos_token_id: int | None) -> int:
    """The end-of-sequence token, with which the engine ends an aborted generation, and which is made to end it."""
    if eos_token_id is None or params.ignore_eos:
        raise InvalidEdit("abort_when needs a model with an end-of-sequence token, and ignore_eos off")
    if params.structured_outputs is not None:
        raise InvalidEdit("abort_when cannot end an answer of a given structure half-way; send one or the other")
    params.stop_token_ids = sorted({*(params.stop_token_ids or ()), eos_token_id})
    return eos_token_id


def config_of(processor: Any) -> EngineConfig | None:
    """Read once for each of vLLM's input processors, not for every request."""
    if not hasattr(processor, "_featurehub_config"):
        processor._featurehub_config = EngineConfig.of(processor.vllm_config)
    return processor._featurehub_config


def install() -> None:
    """Safe to call again. Raises UnsupportedModel for an unknown vLLM."""
    from vllm import exceptions
    from vllm.v1.engine.input_processor import InputProcessor

    # Releases that do not have it answer any ValueError with 400.
    client_error: Any = getattr(exceptions, "VLLMClientError", ValueError)

    class RefusedRequest(InvalidEdit, client_error): ...

    def admit_processed(processor: Any, request: Any, *args: Any, **kwargs: Any) -> None:
        config = config_of(processor)
        if config is None:
            return
        try:
            admit(request, config, processor.renderer.get_eos_token_id())
        except InvalidEdit as error:
            raise RefusedRequest(error.message, param=error.param) from None

    run_after(InputProcessor, "process_inputs", lambda parameters: "params" in parameters, admit_processed)
