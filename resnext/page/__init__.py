"""The web page: `layout.py` builds it, `launch.py` serves it."""
