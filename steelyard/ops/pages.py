"""A server of ``steelyard up`` behind the gate: Prefect's or MLflow's.

Run as ``python -m steelyard.ops.pages prefect|mlflow HOST PORT HOME CONF``.
"""

import sys
from pathlib import Path

import uvicorn

from steelyard.desk.middleware import App
from steelyard.gateways.login import read_login
from steelyard.home import open_shared
from steelyard.ops.gate import Gate
from steelyard.settings import Settings


def page(name: str, settings: Settings) -> App:
    """Return a page behind the gate.

    Args:
        name: prefect or mlflow.
        settings: Settings of the home, with ``{home}`` filled in.
    """
    hosts, services = settings.page_hosts, settings.services
    if name == "prefect":  # asks for the login itself, in its page and in its API
        from prefect.server.api.server import create_app

        return Gate(create_app(final=True), hosts)
    from steelyard.gateways.registry.server import mlflow_server

    login = read_login(Path(services.state))
    server = mlflow_server(services.mlflow, services.artifacts, hosts)
    return Gate(server, hosts, login, health="/health")


def main() -> None:
    """Serve the page until a signal comes."""
    name, host, port, home, conf = sys.argv[1:]
    app = page(name, open_shared(home, conf).settings)
    uvicorn.run(app, host=host, port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
