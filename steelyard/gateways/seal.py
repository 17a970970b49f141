"""The seal of state and decisions: HMAC-SHA256 (RFC 2104) with a key that only this home knows.

The key comes from ``STEELYARD_SEAL_KEY``, else from a file of the home. A home made by an earlier
version has neither: a constant seals it, which detects edits by hand, until ``steelyard verify
--reseal`` generates a key.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelyard.errors import RestoreService
from steelyard.gateways.files import private_folder, write_whole
from steelyard.weight.state import State

PLAIN = "steelyard"
"""Key of homes made by an earlier version; it is public."""
PLAIN_ID = "constant"
ID_LENGTH = 8


@dataclass(frozen=True, slots=True)
class StateReading:
    """State as read from a sealed text.

    Attributes:
        state: The state; None if it is missing or cannot be trusted.
        fault: Why it cannot be trusted, to follow "the state tag"; None if nothing is wrong.
    """

    state: State | None = None
    fault: str | None = None


class Seal:
    """Seals texts and states, and reads sealed states.

    Args:
        configured: Key from the environment; empty for none.
        file: File of the home's own key, which need not exist; None for none.
    """

    def __init__(self, configured: str = "", file: Path | None = None) -> None:
        self._configured = configured
        self._file = file
        self._stored = ""

    @property
    def origin(self) -> str:
        """Where the key comes from, in words."""
        if self._configured:
            return "STEELYARD_SEAL_KEY"
        return str(self._file) if self._stored_key() else "the constant of earlier versions"

    @property
    def is_secret(self) -> bool:
        """Whether the key is one that others do not know."""
        return bool(self._configured or self._stored_key())

    @property
    def key_id(self) -> str:
        """Short name of the key, by which processes tell two keys apart; it does not reveal it."""
        return self.of("the key's own name")[:ID_LENGTH] if self.is_secret else PLAIN_ID

    def create(self) -> None:
        """Generate a key into the file; a key that exists, here or in the environment, stays.

        Raises:
            RestoreService: If the file cannot be written.
        """
        if self._file is None or self.is_secret:
            return
        try:
            private_folder(self._file.parent)
            write_whole(self._file, f"{secrets.token_hex(32)}\n")
        except OSError as error:
            raise RestoreService(
                f"{self._file}: the seal key cannot be written ({error}); free space or correct "
                "the permissions"
            ) from error

    def _stored_key(self) -> str:
        """Return the key of the file, empty without one; once read it is kept."""
        if self._stored or self._file is None:
            return self._stored
        try:
            self._stored = self._file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise RestoreService(
                f"{self._file}: the seal key cannot be read ({error}); without it no state can be "
                "believed, so the weight is 0; restore it from a backup"
            ) from error
        if not self._stored:
            raise RestoreService(
                f"{self._file}: the seal key is empty; without it no state can be believed, so the "
                "weight is 0; restore it from a backup"
            )
        return self._stored

    def of(self, text: str) -> str:
        """Return the seal of a text: its HMAC-SHA256 in hexadecimal digits."""
        return _hmac(self._configured or self._stored_key() or PLAIN, text)

    def sealed(self, state: State) -> str:
        """Return a state as sealed JSON, as it is stored in MLflow and on disk."""
        document = state.model_dump(mode="json")
        return json.dumps({**document, "seal": self.of(_canonical(document)), "key": self.key_id})

    def unsealed(self, text: str) -> StateReading:
        """Return the state in a sealed JSON text, or why it cannot be trusted."""
        try:
            document = json.loads(text)
            seal, key_id = str(document.pop("seal", "")), document.pop("key", None)
            state = State.model_validate(document)
        except (ValueError, AttributeError):
            return StateReading(fault="is not a state")
        content = _canonical(document)
        if hmac.compare_digest(seal.encode(), self.of(content).encode()):
            return StateReading(state)
        return StateReading(fault=self._broken(seal, key_id, content))

    def _broken(self, seal: str, key_id: object, content: str) -> str:
        """Return what is wrong with a state whose seal does not fit."""
        if hmac.compare_digest(seal.encode(), _hmac(PLAIN, content).encode()):
            return (
                "is sealed with the public constant of earlier versions, not with the key of this "
                f"home ({self.origin}); if nobody else wrote it, steelyard verify --reseal seals "
                "it with the key"
            )
        if key_id in (None, self.key_id):
            return "was changed by hand, or is sealed with another key"
        lacking = (
            f"another key ({key_id}) than the one in use ({self.key_id}, from {self.origin})"
            if self.is_secret
            else f"a key ({key_id}) that is not here"
        )
        return (
            f"is sealed with {lacking}: nothing can be believed, the weight is 0; put the key back "
            "(STEELYARD_SEAL_KEY, or seal.key from a backup), or, if the change was meant, run "
            "steelyard verify --reseal"
        )


def _hmac(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def _canonical(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
