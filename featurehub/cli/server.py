"""A featurehub server as a child process: start it, wait for it, and end it together with its workers."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from featurehub.errors import EngineUnavailable

__all__ = ["free_port", "running", "served"]

BOOT_SECONDS = 300
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on.

    Below those that the system gives to outgoing connections: one of these may take a port while a server boots.
    """
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise EngineUnavailable(f"every port from {PORTS.start} to {PORTS.stop - 1} of this machine is taken")


@contextmanager
def served(arguments: Sequence[str], port: int, log: Path) -> Iterator[str]:
    """Runs ``featurehub serve`` as a child process while the ``with`` block runs.

    Args:
        arguments: Arguments of the command, without ``--port``.
        port: The port to serve on.
        log: File that receives the server's output.

    Yields:
        The base URL, ending in ``/v1``, once the server answers.

    Raises:
        EngineUnavailable: The server does not start; the message has the end of its log.
    """
    command = [sys.executable, "-m", "featurehub.cli.main", "serve", *arguments, "--port", str(port)]
    with running(command, port, log) as url:
        yield url


@contextmanager
def running(
    command: Sequence[str], port: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Runs any server of vLLM's as a child process while the ``with`` block runs.

    Args:
        command: The program and its arguments; it serves on ``port`` of 127.0.0.1.
        port: The port.
        log: File that receives the server's output.
        environment: All of the server's environment variables; None for those of this process.

    Yields:
        The base URL, ending in ``/v1``, once the server answers.

    Raises:
        EngineUnavailable: The server does not start; the message has the end of its log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=environment
        )
    try:
        wait_until_up(process, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        end(process)


def wait_until_up(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while not answers(f"{url}/health"):
        if process.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise EngineUnavailable(f"the server did not start; the end of {log}:\n{tail}")
        time.sleep(0.5)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def end(process: "subprocess.Popen[bytes]") -> None:
    """Asks the server to end, waits 20 s, then kills the whole process group so that no worker is left behind."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
