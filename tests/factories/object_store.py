"""An S3-compatible store on this machine, and the variables by which a process reaches it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def object_store(bucket: str) -> Iterator[dict[str, str]]:
    """Run a store with an empty bucket while inside."""
    import boto3  # with moto only where `make postgres` installed them
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "steelyard",
        "AWS_SECRET_ACCESS_KEY": "steelyard",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}",
    }
    keys = {"aws_access_key_id": "steelyard", "aws_secret_access_key": "steelyard"}
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys)
    client.create_bucket(Bucket=bucket)
    try:
        yield environment
    finally:
        server.stop()
