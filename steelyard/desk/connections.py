"""Connections of the service: a bounded number, and none that waits for its client for ever."""

import asyncio
import resource

from uvicorn.protocols.http.auto import AutoHTTPProtocol

REQUEST_SECONDS = 10.0
"""Longest time from a connection, or its last answer, to the end of the next request."""
MOST_CONNECTIONS = 256
ACCEPTED_AT_ONCE = 32
"""Connections taken in before one of them is looked at; small beside the limit of open files."""


def most_connections() -> int:
    """Return the number of connections, half the open files at most: a desk needs files, too."""
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MOST_CONNECTIONS, open_files // 2)


class BoundedProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # chosen at run time
    """uvicorn's protocol, which ends idle connections, with an end to half requests as well.

    Above the limit the half request that has waited longest makes room, then the longest idle
    connection: whoever sends a whole request gets an answer.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.since = self.loop.time()
        self._timer = self.loop.call_later(REQUEST_SECONDS, self._end_waiting)
        if len(self.connections) > most_connections():
            others = [other for other in self.connections - {self} if other.waits_for_client]
            min(others, key=lambda other: (other.idle, other.since), default=self).drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._timer.cancel()
        self._timer = self.loop.call_later(REQUEST_SECONDS, self._end_waiting)

    @property
    def idle(self) -> bool:
        """Whether its last request is answered."""
        return self.cycle is not None and bool(self.cycle.response_complete)

    @property
    def waits_for_client(self) -> bool:
        """Whether the next thing to happen is for the client to send something."""
        return self.idle or self.cycle is None or bool(self.cycle.more_body)

    def drop(self) -> None:
        """End the connection at once."""
        self.connections.discard(self)  # its loss is told to the protocol later
        self.transport.abort()

    def _end_waiting(self) -> None:
        if self.waits_for_client:
            self.drop()
        else:
            self._timer = self.loop.call_later(REQUEST_SECONDS, self._end_waiting)
