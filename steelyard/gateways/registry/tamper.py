"""What somebody does who changes MLflow by hand. For fire drills alone, in homes of their own."""

from collections.abc import Callable

from steelyard.gateways.registry.journal import STATE


def edit_state(address: str, lineage: str, change: Callable[[str], str]) -> None:
    """Put ``change`` of the state tag in its place."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=address, registry_uri=address)
    client.set_registered_model_tag(
        lineage, STATE, change(client.get_registered_model(lineage).tags[STATE])
    )


def edit_decision(address: str, run_id: str, tag: str, value: str) -> str:
    """Put ``value`` in the place of a tag of a decision's run; returns what stood there."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=address)
    before: str = client.get_run(run_id).data.tags[tag]
    client.set_tag(run_id, tag, value)
    return before
