"""The champion as a trading process holds it: one immutable bundle, swapped by reference, the last good one on disk."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steelyard.errors import FixData
from steelyard.gateways.files import write_whole
from steelyard.learning.scorer import Scorer, files_hash
from steelyard.weight.state import State

Load = Callable[[str], Mapping[str, bytes]]
Seal = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A version of the model, held against its proof and warmed up."""

    version: str
    scorer: Scorer

    @classmethod
    def of(cls, version: str, files: Mapping[str, bytes]) -> "Bundle":
        """Return the bundle of stored files; the kernels are compiled when it returns, so no trade waits for that.

        Raises:
            FixData: If the files are not what was stored, or the trees do not predict what the booster did.
        """
        scorer = Scorer.from_files(files)
        row = np.clip(np.zeros(len(scorer.feature_names)), scorer.low, scorer.high)
        scorer.usable(row)
        scorer.score(row)
        return cls(version, scorer)


class ServedModel:
    """Follows the version that serves.

    Args:
        load: Returns the stored files of a version (``Registry.load``).
        folder: Where the last good bundle is kept, for a start without MLflow.
        seal: What the digest of the kept files is sealed with (``Journal.seal``); by default it stands there as it is.

    Attributes:
        bundle: What is served; None without a champion. Read it once for each evaluation: it is replaced, never changed.
    """

    def __init__(self, load: Load, folder: Path, seal: Seal = str) -> None:
        self._load = load
        self._seal = seal
        self._folder = folder
        self.bundle: Bundle | None = None

    def restore(self) -> None:
        """Serve the bundle on disk; where there is none, a damaged one, or one somebody changed, nothing is served."""
        self.bundle = None
        with suppress(OSError, UnicodeDecodeError, FixData):
            version, _, sealed = (
                (self._folder / "current").read_text(encoding="utf-8").partition(" ")
            )
            files = {file.name: file.read_bytes() for file in (self._folder / version).iterdir()}
            if sealed == self._sealed(version, files):
                self.bundle = Bundle.of(version, files)

    def follow(self, state: State) -> None:
        """Serve the champion of ``state``; in the background, it loads, checks and warms up what is new before the swap.

        Raises:
            SteelyardError: If it cannot be loaded or is not sound; what was served before goes on.
        """
        if state.champion is None:
            self.bundle = None
        elif self.bundle is None or self.bundle.version != state.champion:
            files = self._load(state.champion)
            self.bundle = Bundle.of(state.champion, files)
            self._keep(state.champion, files)

    def _keep(self, version: str, files: Mapping[str, bytes]) -> None:
        """Write the bundle beside the one before, then point to it."""
        place = self._folder / version
        place.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (place / name).write_bytes(content)
        write_whole(self._folder / "current", f"{version} {self._sealed(version, files)}")
        for other in self._folder.iterdir():
            if other.is_dir() and other.name != version:
                shutil.rmtree(other, ignore_errors=True)

    def _sealed(self, version: str, files: Mapping[str, bytes]) -> str:
        """Return the seal of a version's files, their names with them."""
        return self._seal(f"{version}:{files_hash(files)}")
