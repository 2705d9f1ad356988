"""Admission: at the engine's boundary, before a request reaches the scheduler, whichever frontend it came through.

1. Its steering is read from ``extra_args`` and checked against what the engine holds. A steering that fails raises
   InvalidEdit, which vLLM treats as the client's error: its frontends hand it on and its server answers 400. A steering
   without the server's seal fails too: a client cannot write its own, whatever route it takes.
2. Its KV blocks get a ``cache_salt``, equal to that of other blocks only if every token in them is computed alike. The
   salt is a hash of the client's own salt, the steering and where its SAEs lie, the loaded weights, and the prompt's
   length if the steering depends on it. A request whose every token must be computed (it reads, carries aborts, or has
   "so far" conditions) shares blocks with no other request, and its ``n`` answers, which have its salt, read none of
   each other's. Neither does a steered one under a LoRA adapter share any, since another adapter may be loaded under
   the same name. A client's own salt is hashed too, so that no client can name the salt of steered blocks.
3. A request with aborts may be stopped by the engine with the model's end-of-sequence token.
4. The steering is sealed again. The worker refuses a steering without this seal: it would run on unsalted blocks.

``LLM``, ``AsyncLLM`` and the server all make requests in ``InputProcessor.process_inputs``; vLLM offers no seam there
that both of its model runners take, so that method is wrapped, once. The worker checks again.
"""

import hashlib
import secrets
from typing import Any

from msgspec.structs import replace

from featurehub.edits import Steering, digest_of
from featurehub.engine.checks import carried, check, prompt_len
from featurehub.engine.config import KEY, VERSION, EngineConfig
from featurehub.engine.options import refuse_unsupported
from featurehub.engine.wrapping import run_after
from featurehub.errors import InvalidEdit, UnsupportedModel
from featurehub.seals import Maker

__all__ = ["admit", "admit_under", "install", "salt_with"]


def admit(request: Any, config: EngineConfig, eos_token_id: int | None) -> None:
    """Checks a vLLM ``EngineCoreRequest``, and completes its steering and its salt in place.

    Args:
        request: The request.
        config: What the engine holds.
        eos_token_id: The model's end-of-sequence token, with which an abort ends an answer; None if it has none.

    Raises:
        InvalidEdit: The steering was not made by the server, or the engine cannot do what it asks.
    """
    params = request.sampling_params
    asked = carried(params.extra_args) if params is not None else None
    steering, text = None, ""
    if params is not None and asked is not None:
        if not asked.is_sealed(Maker.REQUEST):
            raise InvalidEdit(
                f"extra_args.{KEY} is the server's own: name features in the request's body instead", param=KEY
            )
        steering = complete(check(asked.steering, config), request, eos_token_id)
        text = steering.to_sealed(Maker.ADMISSION)
        params.extra_args = {**params.extra_args, KEY: text}
    request.cache_salt = salt(request, steering, text, config)


def complete(steering: Steering, request: Any, eos_token_id: int | None) -> Steering:
    """The steering with its nonce and stop token, unsealed. Raises InvalidEdit if such a request cannot be steered."""
    if getattr(request, "resumable", False) and not steering.is_nothing:
        raise InvalidEdit("a prompt that is still being sent has no end yet, so it cannot be steered; send it whole")
    if request.sampling_params.n > 1 and steering.capture:
        raise InvalidEdit("a captured stream is of one answer; send n = 1")
    if request.sampling_params.n > 1 and steering.needs_every_token:
        request.sampling_params.skip_reading_prefix_cache = True
    filled: dict[str, Any] = {"nonce": secrets.token_hex(16), "seal": ""}
    if steering.aborts:
        filled["stop_token"] = make_stoppable(request.sampling_params, eos_token_id)
    return replace(steering, **filled)


def salt(request: Any, steering: Steering | None, text: str, config: EngineConfig) -> str | None:
    """The salt of a request's KV blocks.

    Args:
        request: The request, with the client's own salt.
        steering: Its steering, completed; None without one.
        text: The steering's canonical JSON.
        config: What the engine holds.

    Returns:
        64 hexadecimal digits, equal for requests whose blocks are interchangeable; None if the request has no salt
        of its own and asks for no steering.
    """
    parts: list[Any] = [request.cache_salt]
    if steering is not None and not steering.is_nothing:
        alone = steering.needs_every_token or request.lora_request is not None
        used = steering.saes()
        places = sorted((sae.id, str(hook.point)) for hook in config.hooks for sae in hook.saes if sae.id in used)
        parts += [
            digest_of(text),
            places,
            prompt_len(request) if steering.heeds_prompt_len else None,
            steering.nonce if alone else None,
            config.weights,
            VERSION,
        ]
    return hashlib.sha256(repr(parts).encode()).hexdigest() if any(parts) else None


def make_stoppable(params: Any, eos_token_id: int | None) -> int:
    """Makes the end-of-sequence token end the answer, for the worker to put in place of the sampled token.

    Raises:
        InvalidEdit: These sampling parameters do not let an answer end early.
    """
    if eos_token_id is None or params.ignore_eos:
        raise InvalidEdit("abort_when needs a model with an end-of-sequence token, and ignore_eos off")
    if params.min_tokens:
        raise InvalidEdit(f"abort_when cannot end an answer before min_tokens ({params.min_tokens}); send 0")
    if getattr(params, "trace_decode_token_ids", None):
        raise InvalidEdit("abort_when cannot end an answer whose tokens are given (trace_decode_token_ids)")
    if params.structured_outputs is not None:
        raise InvalidEdit("abort_when cannot end an answer of a given structure half-way; send one or the other")
    params.stop_token_ids = sorted({*(params.stop_token_ids or ()), eos_token_id})
    return eos_token_id


def configure(processor: Any, *constructed: Any, **arguments: Any) -> None:
    """Reads the configuration once for each of vLLM's input processors; an error ends the boot.

    Raises:
        InvalidConfig: The configuration is not valid.
        UnsupportedModel: vLLM runs with an option under which requests cannot be steered.
    """
    processor._featurehub_config = EngineConfig.of(processor.vllm_config)
    if processor._featurehub_config is not None:
        refuse_unsupported(processor.vllm_config)


def admit_under(processor: Any, config: EngineConfig) -> None:
    """Makes a vLLM input processor admit what an engine of this configuration can do, from now on."""
    processor._featurehub_config = config


def salt_with(processor: Any, weights: str) -> None:
    """Makes a vLLM input processor salt KV blocks with other weights from now on."""
    if not hasattr(processor, "_featurehub_config"):
        configure(processor)
    admit_under(processor, processor._featurehub_config.model_copy(update={"weights": weights}))


def install() -> None:
    """Wraps vLLM's input processor, so that every request passes ``admit``. Safe to call again.

    Raises:
        UnsupportedModel: This vLLM makes requests in a way that featurehub does not know.
    """
    try:
        from vllm import exceptions
        from vllm.v1.engine.input_processor import InputProcessor
    except ImportError as error:
        raise UnsupportedModel(f"this vLLM makes requests in a way that featurehub does not know: {error}") from error

    # Releases that do not have it answer any ValueError with 400.
    client_error: Any = getattr(exceptions, "VLLMClientError", ValueError)

    class RefusedRequest(InvalidEdit, client_error): ...

    def admit_processed(processor: Any, request: Any, *args: Any, **kwargs: Any) -> None:
        if not hasattr(processor, "_featurehub_config"):  # It was made before the plugin was loaded.
            configure(processor)
        config = processor._featurehub_config
        if config is None:
            return
        try:
            admit(request, config, processor.renderer.get_eos_token_id())
        except InvalidEdit as error:
            raise RefusedRequest(error.message, param=error.param) from None

    run_after(InputProcessor, "__init__", lambda parameters: "vllm_config" in parameters, configure)
    run_after(InputProcessor, "process_inputs", lambda parameters: "params" in parameters, admit_processed)
