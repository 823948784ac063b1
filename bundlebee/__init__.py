"""bundlebee: a grid for ordinary Python code."""

from bundlebee.errors import BundlebeeError

__version__ = "0.1.0"

__all__ = ["BundlebeeError", "Executor", "__version__"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bundlebee.executor import Executor


def __getattr__(name: str) -> object:
    # what comes with it takes 50 ms to import, and every command imports this package
    if name == "Executor":
        from bundlebee.executor import Executor

        globals()[name] = Executor
        return Executor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
