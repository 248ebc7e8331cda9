"""Acting as a user who may not read the files of others."""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def other_user() -> Iterator[None]:
    """Runs as a user without rights to the files of others: the superuser may read everything."""
    user = os.geteuid()
    if not user:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
