"""The limits of a connection: sizes, deadlines, and which one is closed when there are too many."""
import json
import os
import sys
from asyncio import BaseTransport

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_HEAD_BYTES = 32_768  # of a request's line and headers; also what may come between parts of a body
_HEADERS = 100
_PIPELINED = 32       # requests that wait for the response to an earlier one
_LAST_SECONDS = 3     # for a half-sent body when the server stops
_MOST = 4096          # connections
_SPARE = 16           # descriptors for files that the server opens
_KNOWN = 8            # responses after which a connection is as good as any other

# What a connection waits for, and after how many seconds it is closed. A body of 16 MB in a minute
# is 270 kB a second. The last one is longer than uvicorn's timeout_keep_alive, which closes an idle
# connection; what is left then is a client that does not read its response.
_FIRST, _HEAD, _BODY, _NEXT = "first request", "head", "body", "next request"
KEEP_ALIVE = 75
_SECONDS = {_FIRST: 10, _HEAD: 10, _BODY: 60, _NEXT: KEEP_ALIVE + 5}


def connection_limits() -> tuple[int, int]:
    """Return how many connections may be open and how many may wait to be accepted.

    Together they leave a few of the process's file descriptors free.
    """
    free = _MOST
    if sys.platform != "win32" and os.name != "nt":  # which has no such limit
        import resource
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        free = descriptors - len(os.listdir("/dev/fd")) - _SPARE
    waiting = max(8, min(1024, free // 4))
    return max(8, min(_MOST, free - waiting)), waiting


def close_oldest(connections: set, new: "Connection | None" = None) -> None:
    """Close the connection that waits for its client and had no response for the longest time.

    Those with fewer responses than others, up to `_KNOWN`, go first: connections that ask nothing,
    or once, may be opened faster than any client asks again.

    Args:
        connections: uvicorn's connections.
        new: a connection that stays.
    """
    others = [connection for connection in connections if isinstance(connection, Connection)
              and connection is not new and connection.is_waiting()]
    if others:
        oldest = min(others, key=lambda connection: (min(connection.responses, _KNOWN),
                                                     connection.served))
        connections.discard(oldest)
        oldest.transport.abort()


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with limits.

    A head of more than 32 KiB or 100 headers is refused. A client that sends a head or a body too
    slowly is disconnected. Where one more connection exceeds `limit_concurrency`, `close_oldest`
    closes another. The scope of a request has "gone", a future that is done once the connection is
    lost.
    """

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._waits_for, self._size, self._headers, self._status = _FIRST, 0, 0, 400
        self._since = self.served = self.loop.time()
        self.responses = 0
        self._gone = self.loop.create_future()
        # uvicorn would also count the tasks of connections that are closed, and refuse others.
        most, self.limit_concurrency = self.limit_concurrency, None
        self._is_too_many = False
        if most and len(self.connections) >= most:
            close_oldest(self.connections, self)
            self._is_too_many = len(self.connections) >= most  # all have work to do

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._gone.done():
            self._gone.set_result(None)
        super().connection_lost(exc)

    def is_waiting(self) -> bool:
        """Return whether the server has nothing to do for this connection."""
        return not self.pipeline and (self._waits_for == _BODY or self.cycle is None
                                      or self.cycle.response_complete)

    def close_if_late(self, now: float) -> None:
        """Close the connection if its client has exceeded a deadline.

        Args:
            now: the time of the event loop.
        """
        if now - self._since > _SECONDS[self._waits_for] and self.is_waiting():
            if self._waits_for in (_FIRST, _NEXT) or self.transport.is_closing():
                self.transport.abort()
            else:
                self._refuse(408, f"The {self._waits_for} of the request took too long.")

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        super().data_received(data)
        if self._size > _HEAD_BYTES and self._waits_for in (_HEAD, _BODY):
            self._refuse(431, "The head or the trailer of the request is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect(_HEAD)

    def on_url(self, url: bytes) -> None:
        self._check(len(self.url) + len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        self._check(len(name) + len(value))
        super().on_header(name, value)

    def _check(self, size: int) -> None:
        if size > _HEAD_BYTES or self._headers > _HEADERS:
            self._status = 431
            raise ValueError("too large a head")  # httptools makes an HttpParserError of it

    def on_headers_complete(self) -> None:
        self._expect(_BODY)
        if self._is_too_many:
            self._status = 503
            raise ValueError("too many connections")
        if len(self.pipeline) >= _PIPELINED:
            raise ValueError("too many requests at once")
        self.scope["gone"] = self._gone  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._size = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._expect(_NEXT)
        super().on_message_complete()
        if not self.pipeline:
            self.flow.resume_reading()  # otherwise nobody notices that the client disconnects

    def on_response_complete(self) -> None:
        self.served, self.responses = self.loop.time(), self.responses + 1
        if self._waits_for == _NEXT:
            self._since = self.served
        super().on_response_complete()

    def _expect(self, what: str) -> None:
        self._waits_for, self._size, self._since = what, 0, self.loop.time()
        if what != _BODY:
            self._headers = 0

    def shutdown(self) -> None:
        super().shutdown()
        if self._waits_for == _BODY:
            self.loop.call_later(_LAST_SECONDS, self._stop_waiting)

    def _stop_waiting(self) -> None:
        if self._waits_for == _BODY:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        if self._status == 431:
            msg = f"Expected a head of at most {_HEAD_BYTES:,} bytes and {_HEADERS} headers."
        if self._status == 503:
            msg = "The server is busy. Try again later."
        self._refuse(self._status, msg)

    def _refuse(self, status: int, reason: str) -> None:
        """Send an error and close the connection; a response that has begun is cut off."""
        if self.transport.is_closing():
            return
        if not self.is_waiting() or (self.cycle and self.cycle.response_started
                                      and not self.cycle.response_complete):
            self.transport.abort()
            return
        content = json.dumps({"error": reason}).encode()
        self.transport.write(
            STATUS_LINE[status] + b"content-type: application/json\r\ncontent-length: "
            + str(len(content)).encode() + b"\r\nconnection: close\r\n\r\n" + content)
        self.transport.close()
