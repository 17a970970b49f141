"""The file in which a program finds what was decided about its signals: one line each, appended."""

import os
from pathlib import Path

import pandas as pd

from steelyard.errors import RestoreService
from steelyard.gateways.files import private_file

ANSWER = (
    "signal_id",
    "decision",
    "blended",
    "weight",
    "p_win",
    "confidence_existing",
    "confidence_ml",
    "arm",
    "fallback_reason",
)
"""Columns of the file, in order."""


def append_answers(file: Path, decided: pd.DataFrame) -> int:
    """Append one line per signal that has none yet, and return how many were new.

    Args:
        file: CSV file of answers; made with its header if it is not there.
        decided: Predictions, one row per signal in the order of the decisions; columns ``ANSWER``.

    Raises:
        RestoreService: If the file cannot be read or written.
    """
    try:
        private_file(file)
        with open(file, "r+", encoding="utf-8", newline="") as stream:
            told = {line.partition(",")[0] for line in stream}
            new = decided.loc[~decided["signal_id"].isin(told), list(ANSWER)]
            new = new.assign(decision=new["decision"].map({True: "trade", False: "leave"}))
            new.to_csv(stream, index=False, header=not told, lineterminator="\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise RestoreService(
            f"{file}: answers cannot be written ({error}); correct log.answers in "
            "conf/strategy.yaml or the permissions"
        ) from error
    return len(new)
