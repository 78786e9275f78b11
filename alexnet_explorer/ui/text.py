"""Text of visitors and of files, for Streamlit elements that read Markdown."""

from __future__ import annotations

import re

_MARKS = frozenset(r"\`*_{}[]()#+-.!|<>$~:^&")
# Streamlit looks for these after Markdown is read, where a backslash no longer helps: web and mail addresses,
# :material/icons:, and arrows and signs to be typeset. An invisible character that joins words breaks them up.
_SOUGHT = re.compile(r":(?=\S)|@|www(?=\.)|[<>~=-](?=[<>=-])", re.IGNORECASE)
_JOINER = "\u2060"


def shorten(text: str, most: int = 40) -> str:
    """A title for an axis or a legend, where there is little room: its beginning."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def plain(text: str) -> str:
    """Text as it is, whatever Markdown would make of it; on one line."""
    joined = _SOUGHT.sub(lambda found: found[0] + _JOINER, " ".join(text.split()))
    return "".join(f"\\{c}" if c in _MARKS else c for c in joined)
