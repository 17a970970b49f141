"""Import: a log of past trades becomes the lineage's history, and is learned from once."""

from datetime import datetime

from steelyard.flows.common import resolve_as_of
from steelyard.flows.operation import operation
from steelyard.flows.prefect_pages import progress, publish
from steelyard.gateways.trade_logs import ImportOptions
from steelyard.home import open_home
from steelyard.tasks.importing import read_trades, record_trades, train_once
from steelyard.views.reconciliation import ImportResult, import_summary

AS_WRITTEN = ImportOptions()


@operation("import")
def import_trades(
    file: str,
    form: str | None = None,
    options: ImportOptions = AS_WRITTEN,
    learn: bool = True,
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> ImportResult:
    """Record the trades of ``file`` as signals with known outcomes, then train once.

    Args:
        file: Path of the log.
        form: Its format; None to tell it from the header.
        options: What the user says about the log.
        learn: Whether to train afterwards.
        as_of: Import as of this time (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage; None for the only one.
    """
    opened_home, at = open_home(home, conf, lineage), resolve_as_of(as_of)
    opened_home.require_stores()
    reconciled = record_trades(opened_home, read_trades(opened_home, file, form, options), at)
    with progress("import"):
        training, version = train_once(opened_home, at) if learn else ("", None)
    result = ImportResult(reconciled, training, version)
    publish("import", import_summary(result))
    return result
