"""An exchange in a bucket of an object store, which the ordering maintainer keeps in step with its folder.

The store is trusted with nothing, as any exchange. Members list nothing. A store does not tell who may not
list whether an object is missing or forbidden: it says forbidden. So once something was read, what is
forbidden counts as not there, but for the very object that was read first: if that turns forbidden, the
credentials have.
"""

from __future__ import annotations

from collections import OrderedDict

from relayjax.peers.exchange import parts_of
from relayjax.peers.object_bucket import Bucket, Nothing, Object

_KEPT = 4
"""Offered files remembered, so that looking whether they still lie there does not move them again."""


class ObjectExchange:
    """An exchange at an address such as `s3://bucket/relay`."""

    def __init__(self, url: str, *, timeout: float = 60.0, attempts: int = 3, pause: float = 0.1):
        """Connects to nothing yet; arguments and errors as for `Bucket`."""
        self.bucket = Bucket(url, timeout=timeout, attempts=attempts, pause=pause)
        self._kept: OrderedDict[str, Object] = OrderedDict()
        self._first = ""

    def fetch(self, path: str, limit: int) -> bytes | None:
        parts_of(path)
        kept = self._kept.get(path)
        if kept is not None and len(kept.data) > limit:
            kept = None
        found = self.bucket.get(path, limit, kept.tag if kept else "")
        if found is Nothing.FORBIDDEN and path in (self._first or path, self._first):
            raise self.bucket.error(path, "reading it is forbidden")
        if found is Nothing.UNCHANGED and kept:
            return kept.data
        if not isinstance(found, Object):
            return None
        self._first = self._first or path
        return found.data

    def offer(self, path: str, data: bytes) -> None:
        parts_of(path)
        self._kept.pop(path, None)
        if tag := self.bucket.put(path, data):
            self._kept[path] = Object(data, tag)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
