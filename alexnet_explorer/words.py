"""Numbers as people say them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """'42 s', '3 min 20 s', '17 min', '1 h 05 min'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{rest} s" if not minutes else f"{minutes} min" if minutes > 9 else f"{minutes} min {rest:02} s"
