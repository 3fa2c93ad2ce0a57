"""What lies in a bucket, and its removal, by way of TensorStore.

Only the ordering maintainer lists, where strangers may have put objects of any name. obstore gives up on a
prefix with a name in it that it cannot take apart (an empty part, `..`, a control character), and hides all
others with it; TensorStore, which Orbax brings along, takes names as they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from relayjax.errors import ConfigError
from relayjax.peers.object_bucket import Bucket

try:
    import tensorstore
except ImportError as missing:
    raise ConfigError(f"a bucket needs `pip install relayjax[objects]` ({missing})") from missing

_TIMEOUT = 60.0
"""Seconds that a listing may take, some hundred thousand names; also a removal."""

_AT_ONCE = 32
_TIME = re.compile(r" after \d+ ms")
_FAILURES = (ValueError, OSError, TimeoutError, NotImplementedError)
_RETRIES = {"max_retries": 3, "initial_delay": "100ms", "max_delay": "1s"}


class Listing:
    """The names below a bucket's prefix."""

    def __init__(self, bucket: Bucket, *, timeout: float = _TIMEOUT):
        """Connects to nothing yet.

        Args:
          bucket: where.
          timeout: seconds that a listing, or a removal, may take.
        """
        self._bucket, self._timeout = bucket, timeout
        self._opened: tensorstore.KvStore | None = None
        self._spec: dict[str, Any] = {"bucket": bucket.name, "path": bucket.prefix}
        if bucket.scheme == "gs":
            self._spec |= {"driver": "gcs", "context": {"gcs_request_retries": _RETRIES}}
            return
        self._spec |= {"driver": "s3", "context": {"s3_request_retries": _RETRIES}}
        if bucket.endpoint:
            self._spec["endpoint"] = bucket.endpoint
        if bucket.endpoint or bucket.region:
            self._spec["aws_region"] = bucket.region or "us-east-1"
        if os.environ.get("AWS_ACCESS_KEY_ID"):
            self._spec["aws_credentials"] = {"type": "environment"}

    def names(self, folder: str) -> list[bytes]:
        """Names of what lies in a folder and below, sorted, as paths from the prefix on.

        Raises:
          ExchangeError: the store can't be reached now, or does not let us.
        """
        below = tensorstore.KvStore.KeyRange(f"{folder}/", f"{folder}0")  # 0 comes after the slash
        try:
            return sorted(self._store().list(below).result(timeout=self._timeout))
        except _FAILURES as error:
            raise self._bucket.error(f"{folder}/", _said(error)) from error

    def remove(self, paths: Sequence[str | bytes]) -> None:
        """Removes objects; those that are not there are no error.

        Raises:
          ExchangeError: as for `names`; some may be removed.
        """
        for start in range(0, len(paths), _AT_ONCE):
            try:
                removals = [self._store().write(path, None) for path in paths[start : start + _AT_ONCE]]
                for removal in removals:
                    removal.result(timeout=self._timeout)
            except _FAILURES as error:
                raise self._bucket.error("", f"removing fails: {_said(error)}") from error

    def _store(self) -> tensorstore.KvStore:
        if self._opened is None:
            self._opened = tensorstore.KvStore.open(self._spec).result(timeout=self._timeout)
        return self._opened


def _said(error: Exception) -> str:
    """What went wrong, in one printable line, the same each time."""
    line = _TIME.sub("", str(error).partition(" [")[0])[:200] or "no answer in time"
    return "".join(c if c.isprintable() else "?" for c in line)
