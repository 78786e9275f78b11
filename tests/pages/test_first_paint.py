"""The first page comes before PyTorch does."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]

FIRST_PAGE = """
import sys
from streamlit.testing.v1 import AppTest
from alexnet_explorer.ui import networks
networks.warm_up = lambda: None
page = AppTest.from_file("app.py", default_timeout=60).run()
assert not page.exception and page.title[0].value == "AlexNet Explorer"
loaded = {"torch", "torchvision", "captum", "sklearn", "skimage"} & set(sys.modules)
print(sorted(loaded))
"""


def test_the_first_page_needs_no_pytorch(root):
    done = subprocess.run([sys.executable, "-c", FIRST_PAGE], cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
