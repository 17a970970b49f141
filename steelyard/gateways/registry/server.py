"""MLflow's server over a store, as an application that others serve."""

import os
from collections.abc import Iterable
from typing import Any

from steelyard.gateways.registry.places import artifact_location, client_address


def mlflow_server(store: str, artifacts: str, hosts: Iterable[str]) -> Any:
    """Return MLflow's server as an ASGI application; call it once in a process of its own.

    ``mlflow server`` can be given no middleware, so this does what it does: it tells its
    application by environment where the data lies.

    Args:
        store: URL of the tracking store and registry, SQLite or PostgreSQL.
        artifacts: Folder or URL of the artifacts.
        hosts: Names and addresses under which it is reached, on any port.
    """
    from mlflow.server import constants, handlers

    names = [f"[{host}]" if ":" in host else host for host in hosts]
    served = [address for name in names for address in (name, f"{name}:*")]
    store, artifacts = client_address(store), artifact_location(artifacts)
    artifact_root = "mlflow-artifacts:/"  # through the server
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: store,
        constants.REGISTRY_STORE_URI_ENV_VAR: store,
        constants.ARTIFACT_ROOT_ENV_VAR: artifact_root,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: artifacts,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(served),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(
            f"{scheme}://{address}" for scheme in ("http", "https") for address in served
        ),
    }
    handlers.initialize_backend_stores(store, store, artifact_root)

    from mlflow.server.fastapi_app import app

    return app
