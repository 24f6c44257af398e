"""Which hooks there are, and how they are called.

    settings: "package.module:function", "pickle:LABEL:..." ──┐
    entry points of the group faircrawl.page ─────────────────┴──► hooks_of ──► in hook processes: function_of

1. Who starts the workers decides which code runs: neither a crawl nor the API names a hook.
2. The process that crawls imports none of them: what a module does when it is imported, it does in the hooks' own.
"""

import importlib
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from crawler.adapters.functions import packed, unpacked
from crawler.core.errors import UsageError
from crawler.kinds import items

if TYPE_CHECKING:
    from crawler.settings import Settings

GROUP: Final = "faircrawl.page"
"""Of entry points."""
PICKLED: Final = "pickle:"
_PICKLED: Final = re.compile(r"pickle:([^:,\s]{1,200}):[A-Za-z0-9+/]+={0,2}")


def hook_name(function: Callable[..., Any]) -> str:
    """What the setting HOOKS calls a function: ``package.module:function``; of one that cannot be imported, the function itself.

    Raises:
        UsageError: it cannot be sent to another process.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if module and name and module != "__main__" and "<" not in name:
        try:
            if _named(sys.modules.get(module) or importlib.import_module(module), name) is function:
                return f"{module}:{name}"
        except (ImportError, AttributeError):
            pass
    label = re.sub(r"[^\w.]", "", f"{module or '__main__'}.{name or type(function).__qualname__}")[-200:]
    return f"{PICKLED}{label}:{packed(function)}"


def shown(hook: str) -> str:
    """What people and metrics call a hook."""
    found = _PICKLED.fullmatch(hook)
    return hook if found is None else ":".join(found[1].rsplit(".", 1))


def function_of(hook: str) -> Callable[..., Any]:
    """The function. Runs whatever its module does when it is imported, and raises what that raises.

    Raises:
        UsageError: what has that name is no function, or nothing has.
    """
    if _PICKLED.fullmatch(hook):
        found = unpacked(hook.rpartition(":")[2])
    else:
        name = hook.partition(":")[2]
        module = importlib.import_module(hook.partition(":")[0])
        try:
            found = _named(module, name)
        except AttributeError:
            raise UsageError(f"the module {module.__name__} has no {name or 'function of no name'}") from None
    if not callable(found):
        raise UsageError(f"it is a {type(found).__name__}, and no function")
    return found  # type: ignore[no-any-return]  # what it takes and returns nobody knows


def hooks_of(settings: "Settings") -> tuple[str, ...]:
    """All hooks of a worker with these settings: those named, then those installed here, by the names of their entry points."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - most commands fetch nothing

    installed = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return tuple(dict.fromkeys((*settings.hooks, *(f"{point.module}:{point.attr}" for point in installed))))


def _named(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module


def _hook(item: Any) -> str:
    text = item.strip() if isinstance(item, str) else ""
    module, colon, name = text.partition(":")
    parts = [*module.split("."), *name.split(".")]
    if not _PICKLED.fullmatch(text) and not (colon and all(part.isidentifier() for part in parts)):
        raise ValueError("a module, a colon, a function")
    return text


HOOKS: Final = items(
    _hook, "a list of functions as package.module:function", "crawler.hooks.opengraph:opengraph"
)
"""The kind of the setting."""
