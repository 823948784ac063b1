"""Whether the sources of a bundle compile.

A package or module that somebody wrote and dropped in is compiled whole, so that a typing error is named when
it arrives and not when a call fails. Of a distribution with metadata only what every import of it runs is:
published wheels do carry files that this Python does not compile (templates, compatibility modules, test
data), and nobody imports those.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from bundlebee.errors import BrokenBundle

if TYPE_CHECKING:
    from bundlebee.bundles.bundle import Bundle

_BUDGET = 1 << 20
"""Bytes of source: a MiB takes a second to compile. What is beyond shows its errors when it is imported."""


def check(bundle: Bundle) -> BrokenBundle | None:
    """The first error, named with file and line; None where there is none."""
    files = bundle.files()
    tops = [path for path in files if path in _tops(bundle)]
    rest = (
        []
        if bundle.info is not None
        else sorted(path for path in files if path.endswith(".py") and path not in tops)
    )
    left = _BUDGET
    for path in (*tops, *rest):
        left -= len(files[path])
        if left < 0:
            break
        problem = _compile(files[path], path, bundle)
        if problem is not None:
            return problem
    return None


def _tops(bundle: Bundle) -> set[str]:
    names = bundle.ref.imports
    return {f"{name}.py" for name in names} | {f"{name}/__init__.py" for name in names}


def _compile(source: bytes, path: str, bundle: Bundle) -> BrokenBundle | None:
    where = str(bundle.source.parent / path)
    if bundle.source.suffix in (".whl", ".zip"):
        where = f"{bundle.source}/{path}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SyntaxWarning: the author's affair
            compile(source, where, "exec", dont_inherit=True)
    except SyntaxError as error:
        return BrokenBundle(
            f"{where}:{error.lineno or 1} does not compile",
            why=error.msg,
            hint="correct it, it is looked at again",
        )
    except (ValueError, RecursionError, MemoryError) as error:
        return BrokenBundle(f"{where}:1 does not compile", why=str(error) or type(error).__name__)
    return None
