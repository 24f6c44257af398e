"""Functions that no module has under their name, of a notebook or a script, as text: by cloudpickle.

1. What they need of modules that can be imported is imported where they are read; the rest goes with them.
"""

import base64
import binascii
import pickle
from collections.abc import Callable
from typing import Any

from crawler.core.errors import UsageError


def packed(function: Callable[..., Any]) -> str:
    """The function as base64. Raises UsageError: something that it needs cannot be sent to another process."""
    import cloudpickle  # noqa: PLC0415 - few need it

    try:
        return base64.b64encode(cloudpickle.dumps(function)).decode("ascii")
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"the function cannot be sent to the processes that hooks run in ({error}): put it into a module"
        ) from None


def unpacked(text: str) -> Any:
    """The function again. Runs what whoever packed it wrote. Raises UsageError: nothing was packed there."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise UsageError("a function was packed here, and is cut off") from None
    return pickle.loads(data)  # noqa: S301 - whoever gave the setting decides what code runs
