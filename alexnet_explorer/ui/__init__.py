"""What the pages share: the lens, the views, the controls. With pages/ and app.py the one place for Streamlit."""
