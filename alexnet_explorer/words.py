"""Numbers as people say them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """'42 s', '3 min 20 s', '17 min', '1 h 05 min'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{rest} s" if not minutes else f"{minutes} min" if minutes > 9 else f"{minutes} min {rest:02} s"


def number_text(value: float) -> str:
    """A number in four digits, a whole one in all of its own: seeds and numbers of parameters stay apart."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e9 else f"{value:.4g}"
