"""The tabs of the page: a module for each, with one contract (`contract.py`)."""
