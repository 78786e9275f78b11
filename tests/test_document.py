"""Reports as HTML, Markdown and a zip: whole, offline, and with hostile words in them."""

import csv
import io
import zipfile
from html.parser import HTMLParser

import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from alexnet_explorer.document import Chart, Code, Column, Document, Section, Table, Text

HOSTILE = (
    '</script><script>alert("1")</script>', "<img src=x onerror=alert(1)>", "![x](http://x.example/y.png)",
    "[click](javascript:alert(1))", "a | b", "`tick", "```", "# no heading", "1. no list", "- none", "&lt;", "__bold__",
    "http://x.example", "www.x.example", "C:\\new\\table", '"quoted", and', "<!-- plotly -->", "/* plotly */", "\\g<0>",
)  # fmt: skip
VOID = {"meta", "img", "br", "hr", "link", "input"}
unhurried = settings(deadline=None)
text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30)
words = st.one_of(st.sampled_from(HOSTILE), text.filter(str.strip))


class Page(HTMLParser):
    """The elements of a page, with their attributes and text; complains of one that is not closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))
        if tag not in VOID:
            self._open.append(self.elements[-1])

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        if self._open:
            self._open[-1][2].append(data)

    def texts(self, tag):
        return ["".join(text) for name, _, text in self.elements if name == tag]


def document(word="runs", cell=1.5, chart=False):
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3.0, 4.0], name=word))
    points = Table("points", [Column("x"), Column("y")], [[1, 3.0], [2, 4.0]])
    parts = [
        Text(word),
        Code(word, word),
        Code(word, word, folded=True),
        Table(word, [Column(word), Column("number", ".2f")], [[word, cell], [word, None]]),
        *([Chart(word, figure, word, points)] if chart else []),
    ]
    return Document(word, [Section(word, parts)], {"configs/a.json": "{}"})


@pytest.mark.parametrize("word", HOSTILE)
def test_the_page_is_whole_and_shows_every_word_as_it_stands(word):
    page = Page(document(word, chart=True).to_html())
    assert page.texts("h1") == page.texts("h2") == page.texts("p") == page.texts("title") == [word]
    assert page.texts("code") == [word] * 2 and page.texts("summary") == page.texts("figcaption") == [word]
    assert page.texts("td") == [word, "1.50", word, "–"]
    kinds = [attributes.get("type") for tag, attributes, _ in page.elements if tag == "script"]
    assert kinds == ["application/json", None, None]  # the chart, Plotly, and what draws it


@given(words)
@unhurried
def test_any_word_is_text_of_the_page(word):
    page = Page(document(word).to_html())
    assert page.texts("p") == page.texts("h1") == [word]
    assert {tag for tag, _, _ in page.elements} == {
        "html", "head", "meta", "title", "style", "body", "section", "script", "details", "summary", "pre", "code",
        "div", "h1", "h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip


def test_the_page_loads_nothing():
    page = Page(document("runs", chart=True).to_html())
    loading = {"src", "href", "srcset", "data", "action", "poster"}
    assert not [attributes for _, attributes, _ in page.elements if loading & set(attributes)]
    assert any("default-src 'none'" in attributes.get("content", "") for _, attributes, _ in page.elements)


def test_plotly_is_in_the_page_once_and_only_where_something_is_drawn():
    assert len(document(chart=False).to_html()) < 50_000
    assert document(chart=True).to_html().count("plotly.js v") == 1


def rendered(text):
    return MarkdownIt("commonmark").enable("table").parse(text)


@given(words)
@unhurried
def test_any_word_is_text_in_markdown(word):
    tokens = rendered(document(word).to_markdown())
    inline = [token for token in tokens if token.type == "inline"]
    line = " ".join(word.split())
    for token in inline:
        assert all(child.type in ("text", "text_special") for child in token.children or []), token
    shown = ["".join(child.content for child in token.children or []) for token in inline]
    # The title, the section, the paragraph, the titles of code, code and table; the head and the rows.
    assert shown == [line] * 6 + [line, "number", line, "1.50", line, "–"]
    assert [token.content for token in tokens if token.type == "fence"] == [f"{word}\n"] * 2


@pytest.mark.parametrize(
    ("word", "written"), [("http://x.example", "http\\://x.example"), ("see www.x.example", "see www\\.x.example")]
)
def test_an_address_is_no_link_on_github_either(word, written):
    assert f"\n\n{written}\n\n" in document(word).to_markdown()


def test_the_zip_holds_the_report_its_tables_its_charts_and_the_configs():
    archive = zipfile.ZipFile(io.BytesIO(document("a/../b", chart=True).to_zip()))
    assert archive.namelist() == ["report.md", "tables/01-a-b.csv", "charts/02-a-b.csv", "configs/a.json"]
    text = archive.read("report.md").decode()
    assert "(tables/01-a-b.csv)" in text and "(charts/02-a-b.csv)" in text
    assert archive.read("charts/02-a-b.csv").decode("utf-8-sig") == "x,y\n1,3.0\n2,4.0\n"


cells = st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), words.filter(bool))


@given(words, st.lists(st.tuples(cells, cells)))
@unhurried
def test_a_table_comes_back_from_its_csv(title, rows):
    table = Table("any", [Column(title), Column("b")], rows)
    read = list(csv.reader(io.StringIO(table.to_csv(), newline="")))
    assert read[0][0].removeprefix("'") == title.removeprefix("'")
    for row, back in zip(rows, read[1:], strict=True):
        assert len(row) == len(back)
        for cell, text in zip(row, back, strict=True):
            if cell is None or isinstance(cell, str):
                assert text.removeprefix("'") == (cell or "").removeprefix("'")
                assert text == (cell or "") or text[1:2] in ("=", "+", "-", "@", "\t", "\r")
            else:
                assert type(cell)(text) == cell


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ('=HYPERLINK("//x")', "\"'=HYPERLINK(\"\"//x\"\")\""),
        ("@SUM(A1)", "'@SUM(A1)"), ("+1.1 points", "'+1.1 points"),
        ("\t=1", "'\t=1"), ("-0.5", "-0.5"), (-0.5, "-0.5"), ("+1e3", "+1e3"), ("1 - 2", "1 - 2"), ("−2", "−2"),
    ],
)  # fmt: skip
def test_a_spreadsheet_computes_nothing_that_stands_in_a_table(cell, written):
    assert Table("any", [Column("a")], [[cell]]).to_csv() == f"a\n{written}\n"


@pytest.mark.parametrize(
    ("form", "cell", "shown"),
    [
        (".1f", 12.345, "12.3"),
        ("+z.1f", -0.01, "+0.0"),
        ("+.3f", -0.25, "−0.250"),
        ("", "-", "-"),
        ("", None, "–"),
        (".1f", float("nan"), "–"),
        (".1f", float("-inf"), "−∞"),
        ("", 3, "3"),
    ],
)
def test_how_a_cell_is_shown(form, cell, shown):
    assert Column("any", form).shown(cell) == shown
