"""The buttons of the report: what each of them gives, and what the page calls the runs."""

import streamlit as st

from alexnet_explorer.ui import reporting


def test_each_button_makes_its_file_when_it_is_pressed(monkeypatch, trained):
    files = {}
    monkeypatch.setattr(st, "download_button", lambda label, made, name, *given, **named: files.update({name: made}))
    named = {trained.relu.id: "the first", trained.tanh.id: "the second"}
    reporting.show([trained.relu, trained.tanh], named)
    page, packed = files["comparison.html"](), files["comparison.zip"]()
    assert page.startswith(b"<!doctype html>") and b"the first and the second" in page
    assert packed.startswith(b"PK")
