"""Environment variables: secrets, alert channels and servers; settings of libraries."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager

from steelyard.errors import FixConfiguration

OFFLINE = {
    "DO_NOT_TRACK": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
}
MIN_TOKEN_LENGTH = 16
_POOL = "MLFLOW_SQLALCHEMYSTORE_POOLCLASS"


def go_offline() -> None:
    """Disable telemetry, pickles and long retries, unless the environment sets them."""
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)


def prefect_server_configured() -> bool:
    """Whether ``PREFECT_API_URL`` names a Prefect server, which then records the runs."""
    return bool(os.environ.get("PREFECT_API_URL"))


def seal_key() -> str:
    """Return the key that seals state and decisions; empty if none is configured."""
    return os.environ.get("STEELYARD_SEAL_KEY", "")


def alpaca_keys(file: str = "conf/broker.yaml") -> tuple[str, str]:
    """Return Alpaca's key and secret from the environment.

    Args:
        file: File in ``conf/`` that names Alpaca, for the message.

    Raises:
        FixConfiguration: If one of them is not set.
    """
    names = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")
    for name in names:
        if not os.environ.get(name):
            raise FixConfiguration(f"environment variable {name} is not set; {file} names alpaca")
    return os.environ[names[0]], os.environ[names[1]]


def service_token() -> str:
    """Return the token that requests to the service must carry.

    Raises:
        FixConfiguration: If ``STEELYARD_TOKEN`` is not set or too short.
    """
    token = os.environ.get("STEELYARD_TOKEN", "")
    if len(token) < MIN_TOKEN_LENGTH:
        raise FixConfiguration(
            f"environment variable STEELYARD_TOKEN holds {len(token)} characters, "
            f"at least {MIN_TOKEN_LENGTH} are needed; set it to a long random secret"
        )
    return token


def service_token_set() -> bool:
    """Whether ``STEELYARD_TOKEN`` is set."""
    return "STEELYARD_TOKEN" in os.environ


def alert_channels() -> tuple[str, ...]:
    """Return the alert channels as apprise URLs; the environment separates them by blanks."""
    return tuple(os.environ.get("STEELYARD_ALERTS", "").split())


def operator_name() -> str:
    """Return the login name of the operator, for the journal."""
    return getpass.getuser()


def service_manager_socket() -> str:
    """Return where systemd listens for signs of life; empty if it did not start this process.

    The variable is taken out of the environment: children are not the process that systemd watches.
    """
    return os.environ.pop("NOTIFY_SOCKET", "")


def child_environment(**changes: str) -> dict[str, str]:
    """Return the environment of a child process; it imports nothing from the current folder."""
    return {**os.environ, "PYTHONSAFEPATH": "1", **changes}


def given_login() -> str:
    """Return the login of the pages that the environment gives; empty if it gives none."""
    return os.environ.get("PREFECT_API_AUTH_STRING", "")


def login_environment(login: str) -> dict[str, str]:
    """Return the variables by which Prefect's server asks for a login and its clients give it."""
    return {"PREFECT_SERVER_API_AUTH_STRING": login, "PREFECT_API_AUTH_STRING": login}


@contextmanager
def isolated_environment() -> Iterator[None]:
    """Isolate the work inside from the operator's alert channels and Prefect server.

    It also turns off MLflow's connection pool, so that a file that is moved away is noticed.
    """
    saved = {
        name: os.environ.pop(name, None) for name in ("STEELYARD_ALERTS", "PREFECT_API_URL", _POOL)
    }
    os.environ[_POOL] = "NullPool"
    try:
        yield
    finally:
        del os.environ[_POOL]
        os.environ.update({name: value for name, value in saved.items() if value is not None})
