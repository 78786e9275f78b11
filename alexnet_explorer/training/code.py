"""Which code a run was computed by: two runs of one config are the same experiment only if this agrees, too."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]

# Where a run's numbers come from. What is said about them, and where they are kept, is not among them.
MODULES = (
    "model.py", "data/augment.py", "data/batches.py", "data/preprocess.py", "training/loop.py", "training/optimiser.py",
)  # fmt: skip

# Code that only learned something new, and for every config that came before it computes the numbers of the code that
# it is named after here: six runs or more (both optimisers, averaged weights, fine-tuning, clean passes, every
# augmentation, every pooling, bf16) were compared, weights and metrics to the bit.
SAME_AS = {
    # train.average, the state in which a signal ends a run, dropout on a GPU, throughput as a moving mean
    "cda4e4ff98256f08": "59c64254fcf2bbb9",
    # train.compile, one kernel for an update on a GPU, memory that is given back before and after a validation
    "ad63737173321979": "59c64254fcf2bbb9",
}


@cache
def code_digest() -> str:
    """16 hexadecimal digits of what the training code does; comments, docstrings and layout do not count."""
    sources = [(PACKAGE / name).read_text(encoding="utf-8") for name in MODULES]
    digest = hashlib.sha256("\n".join(map(_bare, sources)).encode()).hexdigest()[:16]
    return SAME_AS.get(digest, digest)


def _bare(source: str) -> str:
    """A module's syntax tree without its docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
