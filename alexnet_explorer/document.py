"""A report as a value: text, tables, charts and code, in sections; written as one HTML file, as Markdown, as a zip.

All text is plain: whatever it holds is shown as it stands, in each of the three.
"""

from __future__ import annotations

import html
import io
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .files import csv_text, slug

if TYPE_CHECKING:
    import plotly.graph_objects as go

Cell = str | int | float | None

FORMATS = (".html", ".md", ".zip")
CHART_HEIGHT, LEGEND_HEIGHT = 380, 22  # pixels; of a line of the legend
_LOOK = Path(__file__).parent / "document.html"


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    words: str


@dataclass(frozen=True)
class Code:
    """What is to be copied; `folded`: it opens by a click on its title."""

    text: str
    title: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Column:
    """The head of a column, with the unit, and how its numbers are shown: `.1f`, `+.3f`; None is a dash."""

    title: str
    format: str = ""

    def shown(self, cell: Cell) -> str:
        """A cell as people read it."""
        if cell is None or (isinstance(cell, float) and math.isnan(cell)):
            return "–"
        if isinstance(cell, str):
            return cell
        if math.isinf(cell):
            return "∞" if cell > 0 else "−∞"
        return format(cell, self.format).replace("-", "−")


@dataclass(frozen=True)
class Table:
    """Rows of cells, a column each; the CSV file has the numbers in full."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]

    def to_csv(self) -> str:
        """A line of titles, and one for each row; None is empty."""
        return csv_text([[column.title for column in self.columns], *self.rows])


@dataclass(frozen=True)
class Chart:
    """A Plotly figure, in words what it shows, and the numbers that it draws, for the CSV file."""

    title: str
    figure: go.Figure
    alt: str
    points: Table


Part = Text | Code | Table | Chart


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Document:
    """A report; `files` go into the zip beside it, by their paths there."""

    title: str
    sections: Sequence[Section]
    files: Mapping[str, str] = field(default_factory=dict)

    def to_file(self, suffix: str) -> bytes:
        """What a file with this ending holds: one of `FORMATS`."""
        if suffix == ".zip":
            return self.to_zip()
        return (self.to_html() if suffix == ".html" else self.to_markdown()).encode()

    def to_html(self) -> str:
        """One file that needs nothing else: Plotly is inside, nothing is loaded; for light, dark and paper."""
        from plotly.offline import get_plotlyjs

        body = [f"<h1>{html.escape(self.title)}</h1>"]
        for section in self.sections:
            parts = "\n".join(map(_html, section.parts))
            body.append(f"<section>\n<h2>{html.escape(section.title)}</h2>\n{parts}\n</section>")
        drawn = any(isinstance(part, Chart) for section in self.sections for part in section.parts)
        values = {
            "title": html.escape(self.title),
            "body": "\n".join(body),
            "plotly": get_plotlyjs() if drawn else "",
        }
        look = _LOOK.read_text(encoding="utf-8")
        return re.sub(
            r"<!-- (title|body|plotly) -->|/\* (plotly) \*/", lambda found: values[found[1] or found[2]], look
        )

    def to_markdown(self) -> str:
        """The same in Markdown; a chart is told in words."""
        return self._markdown({})

    def to_zip(self) -> bytes:
        """`report.md`, a CSV file for each table and each chart, and the files."""
        names = {
            id(part): f"{'charts' if isinstance(part, Chart) else 'tables'}/{number:02}-{slug(part.title)}.csv"
            for number, part in enumerate(self._drawn(), 1)
        }
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("report.md", self._markdown(names))
            for part in self._drawn():
                table = part.points if isinstance(part, Chart) else part
                archive.writestr(names[id(part)], table.to_csv().encode("utf-8-sig"))  # by which Excel knows UTF-8
            for name, text in self.files.items():
                archive.writestr(name, text)
        return packed.getvalue()

    def _drawn(self) -> Iterator[Table | Chart]:
        for section in self.sections:
            yield from (part for part in section.parts if isinstance(part, Table | Chart))

    def _markdown(self, names: Mapping[int, str]) -> str:
        blocks = [f"# {_escaped(self.title)}"]
        for section in self.sections:
            blocks.append(f"## {_escaped(section.title)}")
            for part in section.parts:
                blocks += _markdown(part)
                if name := names.get(id(part)):
                    blocks.append(f"[{name}]({name})")
        return "\n\n".join(blocks) + "\n"


def _html(part: Part) -> str:
    if isinstance(part, Text):
        return f"<p>{html.escape(part.words)}</p>"
    if isinstance(part, Code):
        code = f"<pre><code>{html.escape(part.text)}</code></pre>"
        if part.folded:
            return f"<details><summary>{html.escape(part.title)}</summary>{code}</details>"
        return f"<h3>{html.escape(part.title)}</h3>\n{code}" if part.title else code
    if isinstance(part, Table):
        numeric = [all(not isinstance(row[place], str) for row in part.rows) for place in range(len(part.columns))]
        kinds = [' class="number"' if number else "" for number in numeric]
        head = "".join(
            f"<th{kind}>{html.escape(column.title)}</th>" for column, kind in zip(part.columns, kinds, strict=True)
        )
        rows = "\n".join(
            "<tr>"
            + "".join(
                f"<td{kind}>{html.escape(cell)}</td>" for cell, kind in zip(_shown(part, row), kinds, strict=True)
            )
            + "</tr>"
            for row in part.rows
        )
        return (
            f'<h3>{html.escape(part.title)}</h3>\n<div class="table"><table>\n<thead><tr>{head}</tr></thead>\n'
            f"<tbody>\n{rows}\n</tbody>\n</table></div>"
        )
    alt, drawing = html.escape(part.alt), _drawing(part.figure)  # in which Plotly writes < as \u003c
    return (
        f'<figure><h3>{html.escape(part.title)}</h3>\n<div class="chart" role="img" aria-label="{alt}">'
        f'<script type="application/json">{drawing}</script></div>\n<figcaption>{alt}</figcaption></figure>'
    )


def _drawing(figure: go.Figure) -> str:
    """Data and layout as JSON, without Plotly's own colours; the legend gets room."""
    import plotly.graph_objects as go

    lines = sum(trace.showlegend is not False for trace in figure.data)
    height = figure.layout.height or CHART_HEIGHT + LEGEND_HEIGHT * max(lines - 1, 0)
    return str(go.Figure(figure).update_layout(template="none", height=height).to_json())


def _markdown(part: Part) -> list[str]:
    if isinstance(part, Text):
        return [_paragraph(part.words)]
    if isinstance(part, Code):
        longest = max(map(len, re.findall(r"`+", part.text)), default=0)
        fence = "`" * max(3, longest + 1)
        title = [f"### {_escaped(part.title)}"] if part.title else []
        return [*title, f"{fence}\n{part.text}\n{fence}"]
    if isinstance(part, Chart):
        return [f"### {_escaped(part.title)}", _paragraph(part.alt)]
    head = [[column.title for column in part.columns], *(_shown(part, row) for row in part.rows)]
    lines = [f"| {' | '.join(map(_escaped, row))} |" for row in head]
    lines.insert(1, f"|{' --- |' * len(part.columns)}")
    return [f"### {_escaped(part.title)}", "\n".join(lines)]


def _shown(table: Table, row: Sequence[Cell]) -> list[str]:
    return [column.shown(cell) for column, cell in zip(table.columns, row, strict=True)]


def _paragraph(text: str) -> str:
    """`_escaped`, at the start of a line, where marks make a list or a heading."""
    return re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", _escaped(text))


def _escaped(text: str) -> str:
    """Text that Markdown shows as it stands, on one line."""
    marked = re.sub(r"([\\`*{}\[\]<>|#~$&@]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?i)((?:\b|_)www)\.|:(?=/)", lambda found: f"{found[1]}\\." if found[1] else "\\:", marked)  # links
