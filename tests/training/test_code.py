"""Which changes of the training code make its runs another experiment."""

import shutil

import pytest

from alexnet_explorer.training import code


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the training code to change."""
    for name in code.MODULES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(code.PACKAGE / name, tmp_path / name)
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    monkeypatch.setattr(code, "SAME_AS", {})
    return tmp_path


def digest():
    return code.code_digest.__wrapped__()


def test_words_about_the_code_change_nothing_and_its_numbers_do(package):
    before, file = digest(), package / "training/optimiser.py"
    text = file.read_text(encoding="utf-8")
    file.write_text("# A word more.\n" + text.replace('"""', '"""Once more: ', 1), encoding="utf-8")
    assert digest() == before
    assert text.count("PLATEAU_DROPS = 3") == 1
    file.write_text(text.replace("PLATEAU_DROPS = 3", "PLATEAU_DROPS = 4"), encoding="utf-8")
    assert digest() != before


def test_code_that_computes_the_same_counts_as_the_code_before_it(package, monkeypatch):
    monkeypatch.setattr(code, "SAME_AS", {digest(): "0123456789abcdef"})
    assert digest() == "0123456789abcdef"
