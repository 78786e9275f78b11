"""AlexNet Explorer: the router. `streamlit run app.py`."""

from alexnet_explorer.ui import frame

frame.run()
