"""Objects in a bucket of S3 or of Google Cloud Storage, by way of the package obstore.

An object appears whole or not at all, and is replaced as a whole. Its size is held against a limit before its
body is read. A download that breaks off goes on where it ended; if its object is replaced meanwhile, parts of
both may come out, as the digest tells whoever asked for it. Credentials, region and endpoint are found where
obstore looks for them: in the environment, or in what the machine was given by its cloud.

References:
  RFC 9110, sections 8.8.3 (ETag), 13.1 (If-Match, If-None-Match) and 14 (Range).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from relayjax.errors import ConfigError, ExchangeError, IntegrityError
from relayjax.hashing import Buffer
from relayjax.peers.exchange import room

try:
    from obstore.exceptions import BaseError, NotModifiedError, PermissionDeniedError
    from obstore.store import GCSStore, S3Store
except ImportError as missing:
    raise ConfigError(f"a bucket needs `pip install relayjax[objects]` ({missing})") from missing

if TYPE_CHECKING:
    from obstore.store import BackoffConfig, ClientConfig, RetryConfig, S3Config

_ADDRESS = re.compile(
    r"(s3|gs)://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])((?:/[A-Za-z0-9][A-Za-z0-9._-]{0,127})*)/?"
)
_TIMEOUT = 60.0
"""Seconds that one request may take with its body; a longer download is taken up again."""

_PART = 5 << 20
"""Bytes of each part of a large upload: so many must pass within the timeout, twice."""

_CHUNK = 1 << 18
_GRACE, _SLOWEST = 60.0, 1 << 14
"""Seconds that a download may take anyway, and the bytes a second that it must bring from then on."""

_FAILURES = (BaseError, FileNotFoundError, ValueError)
_STATUS = re.compile(r"status code: (\d{3}[ A-Za-z-]{0,40})")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_CAUSE = re.compile(r'message: "([ -~]{1,80}?)"')


class Nothing(Enum):
    """Why there is no object to be had."""

    MISSING = auto()
    UNCHANGED = auto()
    FORBIDDEN = auto()


@dataclass(frozen=True)
class Object:
    """An object.

    Attributes:
      data: its bytes.
      tag: what the store calls this content.
    """

    data: memoryview
    tag: str


class Bucket:
    """What lies below one prefix of a bucket; may be used from several threads.

    Attributes:
      url: as it was given, without a slash at its end.
      scheme, name, prefix: what it consists of; the prefix has a slash at its end, or is empty.
      endpoint, region: of an S3 store, as the environment names them; empty if it does not.
    """

    def __init__(self, url: str, *, timeout: float = _TIMEOUT, attempts: int = 3, pause: float = 0.1):
        """Connects to nothing yet.

        Args:
          url: of the prefix, such as `s3://bucket/relays/digits`.
          timeout: seconds that one request may take.
          attempts: how often a request is made before it is given up.
          pause: seconds before the first repetition; each later one waits up to twice as long.

        Raises:
          ConfigError: the address is none.
        """
        found = _ADDRESS.fullmatch(url)
        if found is None:
            raise ConfigError(f"{url[:80]!r}: give an address such as s3://bucket/relay or gs://bucket/relay")
        self.url, (self.scheme, self.name) = url.rstrip("/"), found.groups()[:2]
        self.prefix = f"{found[3][1:]}/" if found[3] else ""
        self.endpoint = _named("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
        self.region = _named("AWS_REGION", "AWS_DEFAULT_REGION")
        wait = timedelta(seconds=timeout)
        options: ClientConfig = {
            "timeout": wait,
            "connect_timeout": min(wait, timedelta(seconds=5)),
            "allow_http": _named("AWS_ALLOW_HTTP").lower() in ("1", "true"),
        }
        backoff: BackoffConfig = {
            "init_backoff": timedelta(seconds=pause),
            "max_backoff": timedelta(seconds=16 * pause),
            "base": 2,
        }
        again: RetryConfig = {
            "max_retries": attempts - 1,
            "retry_timeout": attempts * wait,
            "backoff": backoff,
        }
        try:
            if self.scheme == "gs":
                self._store = GCSStore.from_url(self.url, client_options=options, retry_config=again)
            else:
                config: S3Config = {"endpoint": self.endpoint} if self.endpoint else {}
                self._store = S3Store.from_url(
                    self.url, config=config, client_options=options, retry_config=again
                )
        except _FAILURES as error:
            raise ConfigError(
                f"{self.url}: {_said(error)}; see what the environment says about it"
            ) from error

    def get(
        self, path: str, limit: int, unless: str = "", place: Callable[[int], memoryview] = room
    ) -> Object | Nothing:
        """Fetches an object.

        Args:
          path: of the object.
          limit: bytes it may have.
          unless: a tag; an object that still has it is not fetched.
          place: gives a buffer of a length for its bytes.

        Raises:
          IntegrityError: it is longer; nothing of it is read.
          ExchangeError: the store can't be reached now, or does not give it.
        """
        body, filled, tag, begun = memoryview(b""), 0, "", time.monotonic()
        while True:
            before = filled
            try:
                answer = (
                    self._store.get(path, options={"range": {"offset": before}, "if_match": tag})
                    if before
                    else self._store.get(path, options={"if_none_match": unless} if unless else None)
                )
                size, tag = answer.meta["size"], answer.meta["e_tag"] or ""
                if size > limit:
                    raise self._too_long(path, limit)
                if before == 0:
                    body = place(size)
                for part in answer.stream(min_chunk_size=_CHUNK):
                    if filled + len(part) > len(body):
                        raise self._too_long(path, len(body))
                    body[filled : filled + len(part)] = part
                    filled += len(part)
                if filled == len(body) == size:
                    return Object(body, tag)
                problem = f"breaks off after {filled} of {size} bytes"
            except FileNotFoundError:
                return Nothing.MISSING
            except NotModifiedError:
                return Nothing.UNCHANGED
            except PermissionDeniedError:
                return Nothing.FORBIDDEN
            except (BaseError, ValueError) as error:
                problem = _said(error)
            late = time.monotonic() - begun > _GRACE + filled / _SLOWEST
            if late or not tag or filled == before:
                raise self.error(path, problem)

    def same(self, path: str, tag: str) -> bool:
        """Whether an object still has a tag.

        Raises:
          ExchangeError: as for `get`.
        """
        try:
            self._store.get(path, options={"if_none_match": tag, "head": True})
        except NotModifiedError:
            return True
        except (FileNotFoundError, PermissionDeniedError):  # a store may say the one for the other
            return False
        except (BaseError, ValueError) as error:
            raise self.error(path, _said(error)) from error
        return False

    def put(self, path: str, data: Buffer) -> str:
        """Puts an object in place of what may be there; returns its tag.

        Raises:
          ExchangeError: the store can't be reached now, or does not take it.
        """
        try:
            done = self._store.put(path, data, chunk_size=_PART, max_concurrency=2)
        except _FAILURES as error:
            raise self.error(path, _said(error)) from error
        return done["e_tag"] or ""

    def error(self, path: str, problem: str) -> ExchangeError:
        """What is raised where the store does not do what it was asked for."""
        remedy = "see to address, region, credentials and permissions, or wait"
        return ExchangeError(f"{self.url}/{path}", problem, remedy)

    def _too_long(self, path: str, limit: int) -> IntegrityError:
        problem = f"more than the {limit} bytes it may have; it is left unread"
        return IntegrityError(f"{self.url}/{path}", problem)


def _named(*variables: str) -> str:
    """The first of some environment variables that says something."""
    return next((value for name in variables if (value := os.environ.get(name, ""))), "")


def _said(error: Exception) -> str:
    """What went wrong, in one printable line, the same each time: status and code, or what else is said."""
    text = str(error)
    status, more = _STATUS.search(text), _CODE.search(text)
    if status is None:  # else times and addresses stand before the dash
        more = _CAUSE.search(text)
    line = status[1].strip() if status else text.partition("\n")[0].rpartition(" - ")[2][:200]
    line = "".join(c if c.isprintable() else "?" for c in line) or type(error).__name__
    return f"{line} ({more[1]})" if more else line
