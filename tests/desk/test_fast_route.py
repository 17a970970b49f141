"""What msgspec reads is what pydantic accepts, value for value; what it refuses, both refuse."""

import json
from typing import Annotated, Any

import msgspec
import pytest
from pydantic import BaseModel, Field, ValidationError

from steelyard.desk.fast_route import struct_of
from steelyard.desk.service import BarsIn, LoggedSignalIn, OutcomeIn, SignalIn

STAMP = "2026-01-02T00:00:00Z"
BAR = {"symbol": "A", "timestamp": STAMP, "open": 1, "high": 2.5, "low": 1e12, "close": 1}
SIGNAL = {"symbol": "A", "side": "buy", "timestamp": STAMP}
WHOLE: dict[type[BaseModel], dict[str, Any]] = {
    SignalIn: SIGNAL | {"confidence": 71.5},
    LoggedSignalIn: SIGNAL,
    OutcomeIn: {"signal_id": f"A:{STAMP}:buy", "settled_at": STAMP, "net_return": 0.5},
    BarsIn: {"bars": [BAR, BAR | {"volume": None}, BAR | {"volume": 0}]},
}
ODD = (
    *("A", "A\n", " A", "A b", "A\u2028", "Ö", "", "x" * 65, "buy", "sell", "target", "12:30"),
    *(STAMP, "2023-02-29T00:00:00Z", "2024-02-29T23:59:59Z", STAMP + "\n", f"B:{STAMP}:sell"),
    *(0, -0.0, 1, True, None, 100, 100.0, 100.1, -100, 1e30, 1e31, -1e-300, 10**400, 1e12, 1e15),
    *([], {}, [BAR], [{}], [BAR | {"high": 0}], [BAR | {"more": 1}], [None], {"a": 1}, {"a": None}),
    *({"stop": 1}, {"stop": 0}, {"stopp": 1}, {str(n): 1 for n in range(101)}, [BAR] * 3),
)


def accepted_by_pydantic(model: type[BaseModel], body: Any) -> Any:
    try:
        return model.model_validate(body).model_dump()
    except ValidationError:
        return None


def accepted_by_msgspec(model: type[BaseModel], body: Any) -> Any:
    try:
        read = msgspec.json.decode(json.dumps(body), type=struct_of(model))
    except msgspec.MsgspecError:
        return None
    return msgspec.to_builtins(read)


@pytest.mark.parametrize("model", WHOLE, ids=lambda model: model.__name__)
def test_both_read_the_same(model: type[BaseModel]) -> None:
    """Every field with every odd value, left out, and one too many."""
    whole = WHOLE[model]
    bodies = [{key: whole[key] for key in whole if key != left_out} for left_out in ("", *whole)]
    bodies += [whole | {name: value} for name in (*model.model_fields, "other") for value in ODD]
    accepted = [accepted_by_pydantic(model, body) for body in bodies]

    assert accepted[0] is not None
    for body, expected in zip(bodies, accepted, strict=True):
        assert accepted_by_msgspec(model, body) == expected, body


def test_a_bound_that_msgspec_does_not_know_is_an_error() -> None:
    """It would let through what pydantic refuses."""

    class Even(BaseModel):
        number: Annotated[int, Field(multiple_of=2)]

    with pytest.raises(TypeError, match="msgspec has no such bound"):
        struct_of(Even)
