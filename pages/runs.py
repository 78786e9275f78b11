"""Runs: every network that was trained here, and those that come with the app."""

from alexnet_explorer.ui import page, run_table

page.head(
    "runs",
    "Every run leaves a folder with its settings, its curves and its weights: nothing is lost when the app is closed. "
    "Runs that differ in one setting only are the ones that teach something: choose them, and compare.",
)
run_table.show()
page.foot(
    "**Notice** the difference between validation and test error: settings were chosen by the first one, so it is the "
    "second, computed once at the end, that can be believed. Repeat a run with another seed before you trust a small "
    "difference.",
    """from pathlib import Path
from alexnet_explorer.listing import Listing

for row in Listing(Path("runs")).rows():
    print(row.id, row.status.state, row.status.summary.get("val/top1_error"))""",
)
