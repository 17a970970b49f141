"""The base of every settings model: immutable, and an unknown key is an error."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator


class FrozenModel(BaseModel):
    """A frozen value read from ``conf/``; unknown keys, NaN and infinities are refused.

    Attributes:
        renamed_keys: Former name → name. A key is read under both for one version, never under both at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    renamed_keys: ClassVar[Mapping[str, str]] = {}

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
                f"{both[0]} are the same key under its former and its present name; keep the latter"
            )
        return {cls.renamed_keys.get(name, name): value for name, value in values.items()}


def former_names(model: type[BaseModel], values: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the keys of ``values`` that bear a former name, with their present one, as dotted paths.

    Args:
        model: The settings model that reads ``values``.
        values: What stands in a file, as YAML gives it.
        place: Dotted path of ``values`` within the file, with a dot at its end; empty at the top.
    """
    if not isinstance(values, Mapping):
        return
    renamed = model.renamed_keys if issubclass(model, FrozenModel) else {}
    for name, value in values.items():
        present = renamed.get(name, name)
        if present != name:
            yield f"{place}{name}", f"{place}{present}"
        field = model.model_fields.get(present)
        if (
            field is not None
            and isinstance(field.annotation, type)
            and issubclass(field.annotation, BaseModel)
        ):
            yield from former_names(field.annotation, value, f"{place}{present}.")
