"""A server of ``steelyard up`` behind the gate: Prefect's, MLflow's, or the live page.

Run as ``python -m steelyard.ops.pages prefect|mlflow|live HOST PORT HOME CONF``.
"""

import sys
from functools import partial
from pathlib import Path

import uvicorn

from steelyard.desk.middleware import App
from steelyard.environment import given_login
from steelyard.errors import FixConfiguration
from steelyard.gateways.login import read_login
from steelyard.home import open_lineages, open_shared
from steelyard.ops.gate import Gate


def page(name: str, home: str, conf: str) -> App:
    """Return a page behind the gate.

    Args:
        name: prefect, mlflow or live.
        home: Folder of the home.
        conf: Folder of the settings.

    Raises:
        FixConfiguration: If there is no login that a page could ask for.
    """
    settings = open_shared(home, conf).settings
    hosts, services = settings.page_hosts, settings.services
    login = given_login() or read_login(Path(services.state))
    if not login:
        raise FixConfiguration(
            f"no login for the page of {name}: set PREFECT_API_AUTH_STRING=user:password, or let "
            "steelyard up make one"
        )
    if name == "prefect":  # asks for the login itself, in its page and in its API
        from prefect.server.api.server import create_app

        return Gate(create_app(final=True), hosts)
    if name == "live":
        from steelyard.ops.live.application import application, live_pages
        from steelyard.ops.live.flow_runs import flow_figures

        operator = login.partition(":")[0]
        read_runs = partial(flow_figures, f"{settings.up.prefect_page}/api", login)
        app = application(live_pages(open_lineages(home, conf)), operator, read_runs)
        return Gate(app, hosts, login, "/health")
    from steelyard.gateways.registry.server import mlflow_server

    server = mlflow_server(services.mlflow, services.artifacts, hosts)
    return Gate(server, hosts, login, "/health")


def main() -> None:
    """Serve the page until a signal comes."""
    name, host, port, home, conf = sys.argv[1:]
    uvicorn.run(page(name, home, conf), host=host, port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
