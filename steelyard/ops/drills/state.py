"""Somebody raises the weight by hand: in MLflow, in a decision, on the trading side's disk. Nobody may believe it."""

import json
from collections.abc import Callable
from pathlib import Path

from steelyard.gateways.registry.tamper import edit_decision, edit_state
from steelyard.ops.drills.database import away
from steelyard.ops.drills.desk import trading
from steelyard.ops.drills.findings import Found, Notice, held
from steelyard.ops.drills.ground import BEGAN, DAY, DrillHome
from steelyard.ops.verify import verified
from steelyard.queries.status import status

STORY = "The state tag, a decision, the model on disk and the state on disk are changed by hand, one after the other."
EDITED = BEGAN + DAY


def edited_state(place: DrillHome) -> Found:
    """Edit each in turn, look who believes it, and put it right."""
    with trading(place, BEGAN) as desk:
        desk.live(EDITED)
    place.flow("guard", EDITED)
    weights = [(BEGAN, place.weight(BEGAN))]
    notices, used = _state_tag(place)
    weights += [(EDITED, used), (EDITED + DAY, _weight(place))]
    notices += [
        *_decision(place),
        _on_disk(place, "the model on disk", "no_model", _model_file(place), _sure),
        _on_disk(
            place,
            "the state on disk",
            "no_state",
            place.folder / ".steelyard" / "state.json",
            _raise,
        ),
    ]
    return Found(tuple(notices), tuple(weights))


def _state_tag(place: DrillHome) -> tuple[list[Notice], float]:
    """Return the notices, and the weight trading used while the tag said 70 %."""
    home = place.home()
    services, earned = home.settings.services, _weight(place)
    edit_state(services.mlflow, services.lineage, _raise)
    used, refused = _weight(place), place.refused("guard", EDITED + DAY)
    faults, told = verified(place.home())["faults"], bool(place.alerts("flow", "guard"))
    said = status(place.home(), EDITED)["fault"]
    repaired = verified(place.home(), repair=True)["faults"]
    place.flow("guard", EDITED + DAY)
    return [
        held(
            "state tag: trading uses weight 0",
            "seal",
            used == 0 < earned,
            f"{earned:.0%} → {used:.0%}, the tag says 70%",
        ),
        held("state tag: status says it", "status", bool(said), f"the state tag {said}"),
        held(
            "state tag: the guard refuses and the operator is told",
            "failed flow",
            bool(refused) and told,
            refused,
        ),
        held(
            "state tag: verify names and repairs it",
            "verify",
            bool(faults) and not repaired,
            "; ".join(faults),
        ),
    ], used


def _decision(place: DrillHome) -> list[Notice]:
    home = place.home()
    address, last = home.settings.services.mlflow, home.journal.entries()[-1]
    found = []
    for tag, value in (("reasons", "earned every bit of it"), ("hash", "0" * 64)):
        before = edit_decision(address, str(last.run_id), tag, value)
        faults = verified(place.home())["faults"]
        used = _weight(place)
        edit_decision(address, str(last.run_id), tag, before)
        words = faults[0] if faults else "not named"
        found.append(
            held(f"decision, {tag} changed: verify names it", "hash chain", bool(faults), words)
        )
    found.append(
        held(
            "decision, hash changed: trading uses weight 0", "seal", used == 0, f"weight {used:.0%}"
        )
    )
    return found


def _on_disk(
    place: DrillHome, what: str, reason: str, file: Path, change: Callable[[str], str]
) -> Notice:
    """Change a file of the trading process while MLflow is away, and start it anew."""
    before = file.read_text(encoding="utf-8")
    file.write_text(change(before), encoding="utf-8")
    with away(place.folder / "mlruns" / "mlflow.db"), trading(place, EDITED) as desk:
        lived = desk.live(EDITED + DAY)
    file.write_text(before, encoding="utf-8")
    without = bool(lived) and all(
        one.weight == 0 and one.fallback_reason == reason for one in lived
    )
    reasons = sorted({str(one.fallback_reason) for one in lived})
    return held(
        f"{what}: trading uses weight 0",
        "seal",
        without,
        f"{len(lived)} signals, {', '.join(reasons)}",
    )


def _weight(place: DrillHome) -> float:
    """Return the weight a trading process that starts now would use."""
    with trading(place, EDITED) as desk:
        return desk.weight()


def _model_file(place: DrillHome) -> Path:
    bundle = place.folder / ".steelyard" / "bundle"
    version = (bundle / "current").read_text(encoding="utf-8").partition(" ")[0]
    return bundle / version / "model.json"


def _raise(text: str) -> str:
    """Return a state in which the weight is 70 %, the rest as it was."""
    return json.dumps(json.loads(text) | {"weight": 0.7})


def _sure(text: str) -> str:
    """Return a model's description in which it is sure of every win."""
    described = json.loads(text)
    described["calibration"]["intercept"] += 10
    return json.dumps(described)
