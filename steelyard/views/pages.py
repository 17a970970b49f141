"""A document that was written as an HTML page."""

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar


class Document(Protocol):
    """A frozen value that a command prints as JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""


Shown = TypeVar("Shown", bound=Document)


@dataclass(frozen=True, slots=True)
class WrittenPage(Generic[Shown]):
    """A document and the file of the page that shows it."""

    document: Shown
    file: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; the file is ``page``."""
        return self.document.to_dict() | {"page": self.file}
