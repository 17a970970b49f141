"""The weight is raised by hand in MLflow, in a decision, or on disk: no process may trust it."""

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from steelyard.gateways.registry.tamper import edit_decision, edit_state
from steelyard.ops.drills.database import away
from steelyard.ops.drills.desk import trading
from steelyard.ops.drills.findings import must_hold
from steelyard.ops.drills.ground import DAY, STARTED_AT, DrillHome
from steelyard.ops.verify import verified
from steelyard.queries.status import status
from steelyard.views.drills import DrillResult, Notice

STORY = (
    "State tag, a decision, the model on disk and the state on disk are edited by hand, in turn."
)
EDITED_AT = STARTED_AT + DAY
REPAIRED_AT = EDITED_AT + DAY
"""When the guard runs again; its lease is held against this time, no earlier one."""


def edited_state(drill_home: DrillHome) -> DrillResult:
    """Edit each in turn, check who notices it, and restore it."""
    with trading(drill_home, STARTED_AT) as desk:
        desk.live(EDITED_AT)
    drill_home.flow("guard", EDITED_AT)
    weights = [(STARTED_AT, drill_home.weight(STARTED_AT))]
    notices, used = _state_tag(drill_home)
    weights += [(EDITED_AT, used), (REPAIRED_AT, _weight(drill_home, REPAIRED_AT))]
    notices += [
        *_decision(drill_home),
        _on_disk(
            drill_home, "the model on disk", "no_model", _model_file(drill_home), _claim_certainty
        ),
        _on_disk(
            drill_home,
            "the state on disk",
            "no_state",
            drill_home.folder / ".steelyard" / "state.json",
            _claim_weight,
        ),
    ]
    return DrillResult(tuple(notices), tuple(weights))


def _state_tag(drill_home: DrillHome) -> tuple[list[Notice], float]:
    """Return the notices, and the weight trading used while the tag said 70 %."""
    home = drill_home.home()
    services, earned = home.settings.services, _weight(drill_home, EDITED_AT)
    edit_state(services.mlflow, services.lineage, _claim_weight)
    used = _weight(drill_home, EDITED_AT)
    refused = drill_home.refused("guard", REPAIRED_AT)
    faults, alerted = (
        verified(drill_home.home()).faults,
        bool(drill_home.alerts("flow", "guard")),
    )
    reported = status(drill_home.home(), EDITED_AT).fault
    repaired = verified(drill_home.home(), repair=True).faults
    drill_home.flow("guard", REPAIRED_AT)
    return [
        must_hold(
            "state tag: trading uses weight 0",
            "seal",
            used == 0 < earned,
            f"{earned:.0%} → {used:.0%}, the tag says 70%",
        ),
        must_hold(
            "state tag: status says it", "status", bool(reported), f"the state tag {reported}"
        ),
        must_hold(
            "state tag: the guard refuses and the operator is told",
            "failed flow",
            bool(refused) and alerted,
            refused,
        ),
        must_hold(
            "state tag: verify names and repairs it",
            "verify",
            bool(faults) and not repaired,
            "; ".join(faults),
        ),
    ], used


def _decision(drill_home: DrillHome) -> list[Notice]:
    home = drill_home.home()
    address, last = home.settings.services.mlflow, home.journal.entries()[-1]
    notices = []
    for tag, value in (("reasons", "earned every bit of it"), ("hash", "0" * 64)):
        before = edit_decision(address, str(last.run_id), tag, value)
        faults = verified(drill_home.home()).faults
        used = _weight(drill_home, REPAIRED_AT)
        edit_decision(address, str(last.run_id), tag, before)
        words = faults[0] if faults else "not named"
        notices.append(
            must_hold(
                f"decision, {tag} changed: verify names it", "hash chain", bool(faults), words
            )
        )
    notices.append(
        must_hold(
            "decision, hash changed: trading uses weight 0", "seal", used == 0, f"weight {used:.0%}"
        )
    )
    return notices


def _on_disk(
    drill_home: DrillHome, what: str, reason: str, file: Path, change: Callable[[str], str]
) -> Notice:
    """Change a file of the trading process and restart it while MLflow is unreachable."""
    before, bundle = file.read_text(encoding="utf-8"), drill_home.folder / ".steelyard" / "bundle"
    kept = shutil.copytree(bundle, drill_home.folder / "kept-bundle", dirs_exist_ok=True)
    file.write_text(change(before), encoding="utf-8")
    with away(drill_home.folder / "mlruns" / "mlflow.db"), trading(drill_home, REPAIRED_AT) as desk:
        evaluated = desk.live(REPAIRED_AT + DAY)
    shutil.copytree(kept, bundle, dirs_exist_ok=True)
    file.write_text(before, encoding="utf-8")
    without_model = bool(evaluated) and all(
        signal.weight == 0 and signal.fallback_reason == reason for signal in evaluated
    )
    reasons = sorted({str(signal.fallback_reason) for signal in evaluated})
    return must_hold(
        f"{what}: trading uses weight 0",
        "seal",
        without_model,
        f"{len(evaluated)} signals, {', '.join(reasons)}",
    )


def _weight(drill_home: DrillHome, at: datetime) -> float:
    """Return the weight that a trading process started at ``at`` would use."""
    with trading(drill_home, at) as desk:
        return desk.weight()


def _model_file(drill_home: DrillHome) -> Path:
    bundle = drill_home.folder / ".steelyard" / "bundle"
    version = (bundle / "current").read_text(encoding="utf-8").partition(" ")[0]
    return bundle / version / "model.json"


def _claim_weight(text: str) -> str:
    """Return a state with its weight changed to 70 %."""
    return json.dumps(json.loads(text) | {"weight": 0.7})


def _claim_certainty(text: str) -> str:
    """Return a model description changed to be sure of every win."""
    described = json.loads(text)
    described["calibration"]["intercept"] += 10
    return json.dumps(described)
