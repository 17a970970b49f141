"""What every part may use: the base of settings models, and the form of an ordered map."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

Item = TypeVar("Item")
Result = TypeVar("Result")


class OrderedMap(Protocol):
    """Does the same with every item, here or elsewhere; results come in the order of the items."""

    def __call__(
        self, function: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Iterator[Result]:
        """Yield the results of ``function``, which other processes know by its name."""
        ...


class FrozenModel(BaseModel):
    """A frozen value read from ``conf/``; unknown keys, NaN and infinities are refused.

    Attributes:
        renamed_keys: Former name → present name; for one version a key is read under either name,
            but not under both at once.
        retired_keys: Former names without a successor; for one version they are read and ignored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    renamed_keys: ClassVar[Mapping[str, str]] = {}
    retired_keys: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _accept_former_names(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        both = [
            f"{old} and {new}" for old, new in cls.renamed_keys.items() if {old, new} <= set(values)
        ]
        if both:
            raise ValueError(
                f"{both[0]} are the same key under its former and present name; keep the latter"
            )
        return {
            cls.renamed_keys.get(name, name): value
            for name, value in values.items()
            if name not in cls.retired_keys
        }


def former_names(
    model: type[BaseModel], values: Any, prefix: str = ""
) -> Iterator[tuple[str, str | None]]:
    """Yield every key that still has its former name, with its present name, as dotted paths.

    The present name of a retired key is None.

    Args:
        model: Settings model that reads ``values``.
        values: Content of a file, as parsed from YAML.
        prefix: Dotted path of ``values`` within the file, ending with a dot; empty at the top.
    """
    if not isinstance(values, Mapping) or not issubclass(model, FrozenModel):
        return
    for name, value in values.items():
        present = model.renamed_keys.get(name, name)
        if name in model.retired_keys:
            yield f"{prefix}{name}", None
        elif present != name:
            yield f"{prefix}{name}", f"{prefix}{present}"
        field = model.model_fields.get(present)
        if (
            field is not None
            and isinstance(field.annotation, type)
            and issubclass(field.annotation, BaseModel)
        ):
            yield from former_names(field.annotation, value, f"{prefix}{present}.")
