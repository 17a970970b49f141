"""Logs Prefect's client in to the server of ``steelyard up``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from steelyard.gateways.login import read_login
from steelyard.settings import Settings


@contextmanager
def logged_in(settings: Settings, home: Path) -> Iterator[None]:
    """Give the home's login to Prefect's client while inside.

    Nothing changes if ``PREFECT_API_URL`` names another server, or the environment has a login.

    Args:
        settings: Address of the server.
        home: Folder of the home.
    """
    server = urlsplit(PREFECT_API_URL.value() or "")
    ours = (server.port, server.hostname in settings.page_hosts) == (settings.up.prefect_port, True)
    login = read_login(Path(settings.services.at(home).state)) if ours else ""
    if not login or PREFECT_API_AUTH_STRING.value():
        yield
        return
    with temporary_settings({PREFECT_API_AUTH_STRING: login}):
        yield
