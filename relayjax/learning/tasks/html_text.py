"""The text of a page of documentation, without its markup, its navigation and its scripts."""

from __future__ import annotations

import re
from html.parser import HTMLParser

BLOCKS = {"br", "dd", "div", "dt", "h1", "h2", "h3", "h4", "li", "p", "pre", "table", "tr", "ul", "ol"}
"""Elements that begin a line of their own."""
HIDDEN = {"script", "style"}


def html_text(page: bytes) -> bytes:
    """The words of the page's main part, UTF-8.

    Args:
      page: HTML, UTF-8. Its main part is the first `div` whose role is "main", as Sphinx writes it.

    Returns:
      Text in lines, never with more than one empty line between two; nothing where there is no main part.
    """
    reader = _Reader()
    reader.feed(page.decode("utf-8", "replace"))
    reader.close()
    text = re.sub(r"[ \t]+\n", "\n", "".join(reader.words))
    return re.sub(r"\n{3,}", "\n\n", text).strip().encode()


class _Reader(HTMLParser):
    """Collects words while it is inside the main part."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._depth = 0  # of nested divs, counted from the main one
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "div" and (self._depth or ("role", "main") in attrs):
            self._depth += 1
        self._hidden += tag in HIDDEN
        if self._depth and tag in BLOCKS:
            self.words.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "div" and self._depth:
            self._depth -= 1
        self._hidden -= tag in HIDDEN and self._hidden > 0

    def handle_data(self, data: str) -> None:
        if self._depth and not self._hidden and data != "¶":  # the sign that links to a heading
            self.words.append(data)
