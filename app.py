"""AlexNet Explorer: the router. `streamlit run app.py`."""

import streamlit as st

from alexnet_explorer.ui import frame

st.set_page_config(page_title="AlexNet Explorer", page_icon="🧠", layout="wide")
frame.run()
