"""What calibration goes on from, kept in the SAE's folder once its features are registered.

It is no part of the sealed artifact: nothing that steers depends on it.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from featurehub.artifacts.artifact import Artifact
from featurehub.artifacts.files import write_text
from featurehub.errors import CorruptArtifact, InvalidInput
from featurehub.runs.judges import BuildJudge, judge_with
from featurehub.runs.progress import Progress
from featurehub.settings import Frozen
from featurehub.token_ids import Message
from labeling.calibration import CalibrationConfig
from labeling.judge import WordJudge
from labeling.strength import UnsteeredAnswers

__all__ = ["CalibrationBasis", "digest_of", "keep_unsteered", "kept_unsteered"]

BASIS, UNSTEERED = "calibration.json", "unsteered.json"
Prompt = str | list[Message]


class CalibrationBasis(Frozen):
    """What strengths are found with.

    Attributes:
        made_from: Digest of everything that the labels come from, ``digest_of``.
        judge: Name of the judge.
        vocabulary: The words that the judge knows; empty for all.
        prompts: The prompts that strengths are calibrated on.
        calibration: How many answers are given.
        seconds: How long training should have taken, by estimate; 0 where nothing was trained.
        done: Whether the build's calibration has tried all names that it should.
    """

    made_from: str
    judge: str
    vocabulary: tuple[str, ...] = ()
    prompts: tuple[Prompt, ...]
    calibration: CalibrationConfig = CalibrationConfig()
    seconds: float = 0.0
    done: bool = False

    @classmethod
    def of(cls, judge: BuildJudge, prompts: Sequence[Prompt], **fields: Any) -> Self:
        """The basis with this judge and these prompts.

        Args:
            judge: Judges whether an answer shows what a label names.
            prompts: The prompts that strengths are calibrated on.
            **fields: The other fields.
        """
        words = sorted(judge.vocabulary) if isinstance(judge, WordJudge) else ()
        return cls(judge=judge.name, vocabulary=tuple(words), prompts=tuple(prompts), **fields)

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """The basis in an SAE's folder; None if there is none.

        Raises:
            CorruptArtifact: It cannot be read.
        """
        path = folder / BASIS
        if not path.is_file():
            return None
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            why = error.errors()[0]
            raise CorruptArtifact(
                f"{path} cannot be read ({'.'.join(map(str, why['loc']))}: {why['msg']}); remove it, and give --text",
                param="sae",
            ) from None

    @classmethod
    def open(cls, artifact: Artifact) -> Self:
        """The basis in an SAE's folder.

        Raises:
            InvalidInput: There is none.
            CorruptArtifact: It cannot be read.
        """
        found = cls.find(artifact.folder)
        if found is None:
            raise InvalidInput(
                f"{artifact.folder / BASIS} is not there, so nobody knows on which prompts to calibrate; give --text",
                param="text",
            )
        return found

    def keep(self, folder: Path, progress: Progress) -> None:
        """Writes the basis to an SAE's folder; warns if that cannot be written.

        Args:
            folder: The SAE's folder.
            progress: Hears the warning.
        """
        try:
            write_text(folder / BASIS, self.model_dump_json() + "\n")
        except OSError as error:
            progress.warn(f"{folder / BASIS} cannot be written ({error}): `featurehub calibrate` will need --text")

    def open_judge(self) -> BuildJudge:
        """The judge.

        Raises:
            InvalidInput: No judge of this name is known here.
        """
        return judge_with(self.judge, self.vocabulary)


def digest_of(entries: Sequence[Prompt], *parts: object) -> str:
    """A digest of texts or chats, and of whatever else their labels depend on."""
    digest = hashlib.sha256(repr(parts).encode())
    for entry in entries:
        digest.update(json.dumps(entry).encode())
    return digest.hexdigest()


def kept_unsteered(folder: Path, key: str) -> UnsteeredAnswers | None:
    """The unsteered answers that are kept in an SAE's folder; None if there are none, or others.

    Args:
        folder: The SAE's folder.
        key: What they depend on.
    """
    try:
        kept = json.loads((folder / UNSTEERED).read_text())
        return UnsteeredAnswers(kept["choosing"], kept["confirming"]) if kept["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_unsteered(folder: Path, key: str, answers: UnsteeredAnswers) -> None:
    """Keeps unsteered answers in an SAE's folder, if it can be written: otherwise they are given again next time."""
    with suppress(OSError):
        write_text(folder / UNSTEERED, json.dumps({"key": key, **answers._asdict()}) + "\n")
