"""Compiled functions, kept on disk until one of the sources they are made of changes.

numba looks at the file of a function alone: a rule of another file that was compiled into it would
go on as it was, after an update of a checkout for instance.
"""

import re
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from inspect import getfile
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.extending import register_jitable

Function = TypeVar("Function", bound=Callable[..., Any])
_ROOT = Path(__file__).resolve().parents[1]
_IMPORTED = re.compile(r"^from (steelyard[\w.]*) import (\([^)]*\)|.*)", re.MULTILINE)


def compiled(function: Function) -> Function:
    """Return ``function`` compiled at its first call, kept on disk; it releases the GIL."""
    dispatcher: Any = njit(nogil=True)(function)
    dispatcher._cache = _CacheOfSources(function)
    return cast(Function, dispatcher)


def shared(rule: Function) -> Function:
    """Return ``rule`` unchanged, registered so that compiled code can inline it.

    Without entry points for Python, which calls the rule itself and would wait for them.
    """
    register_jitable(no_cpython_wrapper=True, no_cfunc_wrapper=True)(rule)
    return rule


class _CacheOfSources(FunctionCache):
    """numba's cache of a function, valid for one content of all its sources."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = IndexDataCacheFile(
            self._cache_path, self._impl.filename_base, _stamp(Path(getfile(function)).resolve())
        )


@cache
def _stamp(file: Path) -> str:
    """Return a hash of a source and of all sources of the package that it imports."""
    sources, waiting = {file}, [file]
    while waiting:
        new = _imported(waiting.pop()) - sources
        sources |= new
        waiting += new
    contents = b"".join(source.read_bytes() for source in sorted(sources))
    return sha256(contents).hexdigest()


@cache
def _imported(file: Path) -> frozenset[Path]:
    """Return the sources of the package that a source imports, but for those of types alone."""
    named = set()
    for module, names in _IMPORTED.findall(file.read_text(encoding="utf-8")):
        folder = _ROOT.joinpath(*module.split("."))
        named |= {folder / "__init__.py", folder.with_suffix(".py")}
        named |= {folder / f"{name}.py" for name in re.findall(r"\w+", names)}
    return frozenset(source for source in named if source.is_file())
