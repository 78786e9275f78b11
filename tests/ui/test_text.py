"""Text of visitors is shown as it is: nothing in it becomes a link, a picture, an icon or mathematics."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from alexnet_explorer.ui.text import plain, shorten

# What Streamlit's page looks for in text after Markdown was read (remark-gfm's addresses, its own icons and arrows).
LINK = re.compile(r"(https?:\/\/|www(?=\.))[-.\w]+|[-.\w+]+@[-\w]+(?:\.[-\w]+)+", re.IGNORECASE)
ICON = re.compile(r":material/\w+:|:streamlit:")
TYPESET = re.compile(r"->|<-|--|>=|<=|~=")


def read(shown):
    """As a browser shows it: without the backslashes that escape."""
    return re.sub(r"\\(.)", r"\1", shown)


@given(some.text(some.characters(codec="utf-8", exclude_characters="\u2060")))
def test_the_text_of_a_user_is_all_there_on_one_line(text):
    assert read(plain(text)).replace("\u2060", "") == " ".join(text.split())


@pytest.mark.parametrize("mark", list(r"\`*_{}[]()#+-.!|<>$~^&"))
def test_what_markdown_would_take_for_a_mark_is_escaped(mark):
    assert plain(f"a{mark}b") == f"a\\{mark}b"


@pytest.mark.parametrize(
    "text",
    ["www.evil.org", "WWW.evil.org", "https://evil.org/a", "me@evil.org", ":material/home:", ":streamlit:", "a -> b",
     "a <- b", "a -- b", "a >= b", "a <= b", "a ~= b"],
)  # fmt: skip
def test_what_is_looked_for_after_markdown_is_not_found(text):
    assert any(pattern.search(text) for pattern in (LINK, ICON, TYPESET))
    assert not any(pattern.search(read(plain(text))) for pattern in (LINK, ICON, TYPESET))


def test_a_long_title_is_cut_where_there_is_little_room():
    assert shorten("alexnet-32") == "alexnet-32" and shorten("x" * 40) == "x" * 40
    assert shorten("x" * 41) == "x" * 39 + "…"
