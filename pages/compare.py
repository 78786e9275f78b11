"""Compare: two runs or more, in their settings, their curves, their mistakes, and on one picture."""

from alexnet_explorer.ui import comparing_views, page

here = page.head(
    "compare",
    "Change one idea, train both ways, and look at what it did. The runs are the networks of the sidebar; the first "
    "is the baseline, drawn in grey.",
)
comparing_views.show(here)
page.foot(
    "**Notice** that one pair of runs is one draw of the dice: group runs of several seeds to see what is more than "
    "chance. And that unit 17 of one network is not unit 17 of the other: each training finds its own numbering.",
    """from pathlib import Path
from alexnet_explorer.comparing import Track, ratio, reached
from alexnet_explorer.runs import differences, find_run

runs = [find_run(name, Path("runs")) for name in ("alexnet-32-relu", "alexnet-32-tanh")]
print(differences({run.id: run.as_computed() for run in runs}))
ways = []
for run in runs:
    print(run.id, run.status().summary)
    track = Track()
    track.add(run.metrics()[0])
    ways.append(reached(track.curve("val/top1_error", "epoch"), 0.25))
print(ways, ratio(ways[1], ways[0]))""",
)
