"""The digest that tells whether a stored model is the one that was stored."""

import hashlib
from collections.abc import Mapping


def files_hash(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 over files and their names, name → content, whatever their order."""
    digests = (f"{name}:{hashlib.sha256(files[name]).hexdigest()}" for name in sorted(files))
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
