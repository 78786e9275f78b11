"""Looking into a network: a model and a picture in, arrays out. No Streamlit, no figures."""
