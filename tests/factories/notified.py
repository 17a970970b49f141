"""A Unix socket at which signs of life arrive, as at systemd's."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def listening(address: str) -> Iterator[list[str]]:
    """Give the messages as they come; ``address`` as in NOTIFY_SOCKET."""
    heard = list[str]()

    def listen() -> None:
        while message := listener.recv(100).decode():
            heard.append(message)

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield heard
        finally:
            listener.shutdown(socket.SHUT_RD)
            thread.join()
