"""A relay of separate members over one folder, to its end, whatever happens to whom."""

from __future__ import annotations

from conftest import Member, Town  # noqa
