"""Edits of MLflow by hand, as an intruder would make them; only for drills, in their own homes."""

from collections.abc import Callable

from steelyard.gateways.registry.journal import STATE


def edit_state(address: str, lineage: str, change: Callable[[str], str]) -> None:
    """Replace the state tag of a lineage.

    Args:
        address: Address of MLflow.
        lineage: Name of the registered model.
        change: Returns the new tag for the present one.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=address, registry_uri=address)
    tag = client.get_registered_model(lineage).tags[STATE]
    client.set_registered_model_tag(lineage, STATE, change(tag))


def edit_decision(address: str, run_id: str, tag: str, value: str) -> str:
    """Replace a tag of a decision's run, and return its previous value.

    Args:
        address: Address of MLflow.
        run_id: Run of the decision.
        tag: Name of the tag.
        value: New value.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=address)
    previous: str = client.get_run(run_id).data.tags[tag]
    client.set_tag(run_id, tag, value)
    return previous
