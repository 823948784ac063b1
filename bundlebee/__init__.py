"""bundlebee: a grid for ordinary Python code."""

from bundlebee.errors import BundlebeeError

__version__ = "0.1.0"

__all__ = ["BundlebeeError", "__version__"]
