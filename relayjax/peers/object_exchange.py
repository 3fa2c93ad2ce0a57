"""An exchange in a bucket of an object store, which the ordering maintainer keeps in step with its folder.

The store is trusted with nothing, as any exchange. Members list nothing. A store does not tell who may not
list whether an object is missing or forbidden: it says forbidden. So once something was read, what is
forbidden counts as not there, but for the very object that was read first: if that turns forbidden, the
credentials have.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from relayjax import hashing
from relayjax.peers.exchange import parts_of, room
from relayjax.peers.object_bucket import Bucket, Nothing, Object

_OFFERED = 4_096
"""Offered files whose digests are remembered, so that looking whether they still lie there moves nothing."""


class ObjectExchange:
    """An exchange at an address such as `s3://bucket/relay`."""

    def __init__(self, url: str, *, timeout: float = 60.0, attempts: int = 3, pause: float = 0.1):
        """Connects to nothing yet; arguments and errors as for `Bucket`."""
        self.bucket = Bucket(url, timeout=timeout, attempts=attempts, pause=pause)
        self._offered: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._first = ""

    def fetch(self, path: str, limit: int) -> bytes | None:
        found = self._get(path, limit, room)
        return None if found is None else bytes(found.data)

    def fetch_into(self, path: str, target: memoryview) -> int | None:
        found = self._get(path, len(target), lambda size: target[:size])
        return None if found is None else len(found.data)

    def holds(self, path: str, digest: str) -> bool:
        """As in `Streaming`; what was not offered here may be anything, and is offered again."""
        parts_of(path)
        known, tag = self._offered.get(path, ("", ""))
        return known == digest and self.bucket.same(path, tag)

    def offer(self, path: str, data: bytes) -> None:
        parts_of(path)
        self._offered.pop(path, None)
        if tag := self.bucket.put(path, data):
            self._offered[path] = hashing.digest(data), tag
            while len(self._offered) > _OFFERED:
                self._offered.popitem(last=False)

    def _get(self, path: str, limit: int, place: Callable[[int], memoryview]) -> Object | None:
        parts_of(path)
        found = self.bucket.get(path, limit, place=place)
        if found is Nothing.FORBIDDEN and path in (self._first or path, self._first):
            raise self.bucket.error(path, "reading it is forbidden")
        if not isinstance(found, Object):
            return None
        self._first = self._first or path
        return found
