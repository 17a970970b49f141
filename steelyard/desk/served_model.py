"""The served champion: one immutable bundle, swapped by reference; the last good one on disk."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steelyard.errors import FixData, RestoreService
from steelyard.gateways.files import private_folder, set_aside, write_whole
from steelyard.learning.own_family import ClassLoader, installed_class
from steelyard.learning.scorer import Scorer, files_hash
from steelyard.weight.state import State

FileLoader = Callable[[str], Mapping[str, bytes]]
Sealer = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model version, verified against its stored proof and warmed up.

    Attributes:
        version: Version number in the registry.
        scorer: Turns a feature row into ``p_win`` and ``confidence_ml``.
    """

    version: str
    scorer: Scorer

    @classmethod
    def from_files(
        cls, version: str, files: Mapping[str, bytes], load: ClassLoader = installed_class
    ) -> "Bundle":
        """Return the bundle of a version, its kernels compiled, so that no trade waits for that.

        Args:
            version: Version number in the registry.
            files: Stored files of the version, name → content.
            load: Returns the class of a family of the user's own.

        Raises:
            FixData: If the files differ from what was stored, or the trees do not reproduce the
                booster's predictions.
        """
        scorer = Scorer.from_files(files, load)
        row = np.clip(np.zeros(len(scorer.feature_names)), scorer.low, scorer.high)
        scorer.usable(row)
        scorer.score(row)
        return cls(version, scorer)


class ServedModel:
    """Serves the champion of the current state.

    Args:
        load_files: Returns the stored files of a version (``Registry.load``); None without MLflow:
            only the bundle on disk is served, which another process puts there (``keep``).
        folder: Folder of the last good bundle, for a start without MLflow.
        seal: Seals the digest of the files on disk (``Journal.seal``); by default it is unsealed.
        load_class: Returns the class of a family of the user's own.

    Attributes:
        bundle: Served bundle; None without a champion. It is replaced, never changed: read it once
            per evaluation.
    """

    def __init__(
        self,
        load_files: FileLoader | None,
        folder: Path,
        seal: Sealer = str,
        load_class: ClassLoader = installed_class,
    ) -> None:
        self._load_class = load_class
        self._load_files = load_files
        self._seal = seal
        self._folder = folder
        self.bundle: Bundle | None = None

    def restore(self) -> None:
        """Serve the bundle on disk.

        Nothing is served if it is missing; one that is damaged or was changed by hand is set aside.
        """
        self.bundle = None
        try:
            self.bundle = self._stored()
        except (FileNotFoundError, RestoreService):
            return
        except (OSError, ValueError, LookupError, FixData):
            self._set_aside()

    def _stored(self) -> Bundle:
        pointer = (self._folder / "current").read_text(encoding="utf-8")
        version, _, seal = pointer.partition(" ")
        files = {file.name: file.read_bytes() for file in (self._folder / version).iterdir()}
        if seal != self._seal_of(version, files):
            raise FixData(f"{self._folder}: the model on disk was changed")
        return Bundle.from_files(version, files, self._load_class)

    def _set_aside(self) -> None:
        """Keep the damaged bundle beside a folder for the next one."""
        set_aside(self._folder)

    def follow(self, state: State) -> None:
        """Serve the champion of ``state``; a new one is verified and warmed up before the swap.

        Raises:
            SteelyardError: If it cannot be loaded or verified; the previous bundle goes on serving.
        """
        if state.champion is None:
            self.bundle = None
        elif self.bundle is None or self.bundle.version != state.champion:
            if self._load_files is None:
                self._follow_disk(state.champion)
                return
            files = self._load_files(state.champion)
            self.bundle = Bundle.from_files(state.champion, files, self._load_class)
            self._store(state.champion, files)

    def _follow_disk(self, version: str) -> None:
        try:
            bundle = self._stored()
        except (OSError, ValueError, LookupError) as error:
            raise RestoreService(f"{self._folder} holds no model ({error})") from error
        if bundle.version != version:
            raise RestoreService(
                f"{self._folder} holds version {bundle.version}, the state names {version}"
            )
        self.bundle = bundle

    def keep(self, version: str) -> None:
        """Put a version on disk, unless it is there, for processes that cannot load it.

        Raises:
            SteelyardError: If it cannot be loaded.
            OSError: If it cannot be written.
        """
        with suppress(FileNotFoundError):
            if (self._folder / "current").read_text(encoding="utf-8").partition(" ")[0] == version:
                return
        if self._load_files is not None:
            self._store(version, self._load_files(version))

    def _store(self, version: str, files: Mapping[str, bytes]) -> None:
        """Write the bundle beside the previous one, then point to it."""
        folder = self._folder / version
        private_folder(folder)
        for name, content in files.items():
            write_whole(folder / name, content)
        write_whole(self._folder / "current", f"{version} {self._seal_of(version, files)}")
        for other in self._folder.iterdir():
            if other.is_dir() and other.name != version:
                shutil.rmtree(other, ignore_errors=True)

    def _seal_of(self, version: str, files: Mapping[str, bytes]) -> str:
        """Return the seal of a version's files and their names."""
        return self._seal(f"{version}:{files_hash(files)}")
