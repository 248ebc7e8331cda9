"""Where the checkout is: programs that tests start run in its root."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
