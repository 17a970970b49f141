"""The address of a lake in an object store, and stores that do not answer as they should."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from factories.pilot import BAR, bars_frame
from steelyard.errors import FixConfiguration, RestoreService
from steelyard.gateways.lake import Lake
from steelyard.gateways.lake_store import BucketStore


class Refusal(BaseHTTPRequestHandler):
    """Answers of a store that does not know the keys."""

    def do_HEAD(self) -> None:
        self.send_error(403)

    do_GET = do_HEAD  # noqa: N815  # as http.server asks for it

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as started:
        threading.Thread(target=started.serve_forever, daemon=True).start()
        yield started
        started.shutdown()


@pytest.mark.parametrize(
    "address",
    [
        "s3://somebody:hidden@bucket/bars",
        "s3://bucket/bars?access_key=somebody&secret_key=hidden",
        "s3://bucket/bars?endpoint_override=somebody:hidden@host",
        "gs://bucket/bars",
        "s3://bucket",
        "/srv/bars",
    ],
)
def test_an_address_that_is_none_is_refused(address: str, tmp_path: Path) -> None:
    """One line says what it looks like, and repeats no key."""
    with pytest.raises(FixConfiguration, match="lake must be s3://BUCKET/FOLDER") as refused:
        BucketStore.at(address, tmp_path)
    assert "hidden" not in str(refused.value)


def test_an_address_says_where_the_store_is(tmp_path: Path) -> None:
    """Any store that speaks S3; what is asked of it knows the folder alone."""
    options = "endpoint_override=minio.local:9000&scheme=http&region=eu-west-1"
    store = BucketStore.at(f"s3://bucket/desk/bars?{options}", tmp_path)

    assert store.place == "s3://bucket/desk/bars"
    assert (store.endpoint, store.scheme, store.region) == ("minio.local:9000", "http", "eu-west-1")


def test_a_store_that_cannot_be_used_is_one_line(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong keys, then nobody there; reading and appending, and no key in the line."""
    monkeypatch.setattr("steelyard.gateways.lake_store.ATTEMPTS", 1)
    address = f"s3://bucket/bars?endpoint_override=127.0.0.1:{server.server_port}&scheme=http"
    lake = Lake(BucketStore.at(address, tmp_path))
    for reason in ("ACCESS_DENIED", "NETWORK_CONNECTION"):
        complaint = rf"s3://bucket/bars: the object store cannot be used \({reason} .*AWS_ACCESS"
        with pytest.raises(RestoreService, match=complaint) as refused:
            lake.read()
        assert "hidden" not in str(refused.value)
        with pytest.raises(RestoreService, match=complaint):
            lake.append(bars_frame(), BAR)
        server.shutdown()
        server.server_close()
