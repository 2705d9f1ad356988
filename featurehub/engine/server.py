"""Starts vLLM's own OpenAI server, with the hook in its workers and featurehub's routes in its app."""

import os
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from featurehub.engine.config import EngineConfig
from featurehub.engine.hooked import check_writes_text
from featurehub.engine.loading import as_fingerprinted
from featurehub.engine.overrides import check_weights, overridden, overridden_environment
from featurehub.engine.worker import EXTENSION
from featurehub.errors import InvalidInput
from featurehub.settings import FRONTEND, Frozen

__all__ = ["Launch", "ServeOptions", "prepare", "serve"]


class ServeOptions(Frozen):
    """How vLLM's server is started.

    Attributes:
        host: Address that it listens on.
        port: Port that it listens on.
        served_model_name: Name by which requests ask for the model; "" is the name of the model's folder.
        eager: Whether to run without torch.compile and captured graphs.
        kv_cache_gib: Size of the KV cache in GiB on a CPU. On a GPU vLLM decides; ``--gpu-memory-utilization`` in
            ``extra`` changes it.
        extra: Further arguments of ``vllm serve``, as they would be typed, one string for each word.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    served_model_name: str = ""
    eager: bool = False
    kv_cache_gib: int = 1
    extra: Sequence[str] = ()


class Launch(NamedTuple):
    """A server that is ready to be started.

    Attributes:
        args: vLLM's arguments.
        overrides: The operator's options and environment that may make it compute other than the checkpoint's files
            say.
    """

    args: Namespace
    overrides: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The values of a request's ``model`` that mean the model itself."""
        return tuple(self.args.served_model_name)


def prepare(model: Path, options: ServeOptions) -> Launch:
    """Reads the options as vLLM does, and sets its environment variables.

    Args:
        model: Folder of the model's checkpoint.
        options: How to start the server.

    Raises:
        ModelNotFound: The folder holds no checkpoint.
        InvalidInput: vLLM does not know an argument, or the operator may not set it here.
        UnsupportedModel: vLLM writes no text with the model's architecture.
    """
    overrides = overridden_environment(os.environ)
    prepare_environment(options)
    check_writes_text(model)
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    _, cli_args = launchers()
    parser = cli_args.make_arg_parser(FlexibleArgumentParser(exit_on_error=False))
    own = parse(parser, arguments(model, options))
    args = parse(parser, [*arguments(model, options), *options.extra])
    check_weights(args)
    return Launch(args, overridden(args, own) + overrides)


def serve(launch: Launch, config: EngineConfig, frontend: str) -> None:
    """Runs the server until it is told to stop.

    Args:
        launch: The server, from ``prepare``.
        config: The hook points and the SAEs there.
        frontend: Settings of featurehub's own routes, as JSON.
    """
    import uvloop
    from vllm.entrypoints.serve.utils.api_utils import cli_env_setup

    api_server, cli_args = launchers()
    cli_env_setup()
    os.environ[FRONTEND] = frontend
    args = launch.args
    # Not through the command line, which would print them and limit their length.
    args.additional_config = config.to_additional_config()
    args.worker_extension_cls = EXTENSION
    cli_args.validate_parsed_serve_args(args)
    uvloop.run(api_server.run_server(args))


def parse(parser: Any, arguments: Sequence[str]) -> Namespace:
    try:
        return parser.parse_args(list(arguments))
    except SystemExit:
        raise InvalidInput(f"vLLM does not know one of the arguments {' '.join(arguments)}") from None


def launchers() -> tuple[ModuleType, ModuleType]:
    """vLLM's modules with ``run_server`` and with ``make_arg_parser``; older releases keep them elsewhere."""
    try:
        from vllm.entrypoints.launchers import cli_args
        from vllm.entrypoints.launchers.api_server import entry
    except ModuleNotFoundError:
        names = ("api_server", "cli_args")
        api_server, cli_args = (import_module(f"vllm.entrypoints.openai.{name}") for name in names)
        return api_server, cli_args
    return entry, cli_args


def arguments(model: Path, options: ServeOptions) -> list[str]:
    """The arguments of vLLM that `featurehub serve` sets itself."""
    loading = as_fingerprinted(model).items()
    return [
        *("--model", str(model)),
        *("--host", options.host),
        *("--port", str(options.port)),
        *("--served-model-name", options.served_model_name or model.name),
        *(part for name, value in loading for part in (f"--{name.replace('_', '-')}", value)),
        *(["--enforce-eager"] if options.eager else []),
    ]


def prepare_environment(options: ServeOptions) -> None:
    """Sets vLLM's environment variables, where the operator has not.

    ``VLLM_PLUGINS`` allows featurehub's plugin and shuts out every other that the operator has not named there.
    """
    named = [name for name in os.environ.get("VLLM_PLUGINS", "").split(",") if name]
    os.environ["VLLM_PLUGINS"] = ",".join({"featurehub", *named})
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(options.kv_cache_gib))
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
