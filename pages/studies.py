"""Studies: the paper's claims, and the visitor's own questions, answered by paired runs."""

import streamlit as st

from alexnet_explorer.ui import demonstration, page, studies, study_builder

page.head(
    "studies",
    "One pair of runs misleads: with another seed a small difference changes its sign. A study trains both ways with "
    "the same seeds, and says with an interval what the idea did. The ledger holds the claims of 2012.",
)
everything = studies.all_studies()
demonstration.show(everything)
studies.table(list(everything.values()))
studies.show(studies.choose(everything))
own = st.expander("A study of your own", icon=":material/add:", key="builder", on_change="rerun")
if own.open:
    with own:
        study_builder.show()
        study_builder.bring()
page.foot(
    "**Notice** the interval, not the estimate: where it holds no difference too, the question is open, however large "
    "the estimate. A verdict is of these networks and these data; what it says of ImageNet is told by the notes.",
    """from pathlib import Path
from alexnet_explorer.studies.ledger import results_of, shipped

for results in results_of(list(shipped().values()), Path("runs")):
    for row in results.rows:
        print(row.name, row.verdict.word, row.verdict.reason)""",
)
