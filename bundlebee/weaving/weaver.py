"""Weaves one module: from the bytes of its source to code, with advice and its author's positions."""

from __future__ import annotations

import ast
import marshal
import sys
import warnings
from collections.abc import Iterator
from importlib.util import decode_source
from types import CodeType

from bundlebee.errors import WeaveError
from bundlebee.weaving.cache import digest_of
from bundlebee.weaving.outcomes import ADVICE_NAME, ScatterSite, WovenModule
from bundlebee.weaving.positions import restore
from bundlebee.weaving.splice import splice

EXCHANGES = sys.version_info < (3, 13)
"""Whether functions may get other code without harm: since 3.13, calls of such a function are slower for ever, which costs more than
a switch."""

_CO_OPTIMIZED = 0x1  # of functions, not of class bodies

MAX_LINES = 150_000
"""Longer modules are loaded plain: at about 130 µs a line, a cold weave would take more than 20 s."""


def weave(
    source: bytes, *, module: str, path: str, scatter: bool = True, max_lines: int = MAX_LINES
) -> WovenModule:
    """Weave a module.

    Args:
        source: the file as it is, with whatever encoding, line ends and byte order mark it has.
        module: its dotted name.
        path: what tracebacks are to show.
        scatter: whether to weave scatter sites too.
        max_lines: above this, the module is not woven.

    Raises:
        SyntaxError, ValueError: as a plain import raises them.
        WeaveError: it cannot be woven; load it plain.
    """
    if b"__bee_" in source:
        raise WeaveError(f"{module} cannot be woven", why="it uses names that begin with __bee_")
    lines = source.count(b"\n")
    if lines > max_lines:
        raise WeaveError(f"{module} is not woven", why=f"it has {lines} lines, more than {max_lines}")
    try:
        original = ast.parse(source, path)
        spliced = splice(decode_source(source), original, scatter=scatter)
        code = _compile(spliced.text, original, path)
        loops = any(isinstance(site, ScatterSite) for site in spliced.sites)
        unwoven = _unwoven(code, original, path) if loops and EXCHANGES else b""
        facts = _facts(original, module)
    except RecursionError as error:
        raise WeaveError(f"{module} cannot be woven", why="its expressions are nested too deeply") from error
    return WovenModule(
        module, path, spliced.text, code, spliced.points, spliced.sites, facts, digest_of(source), unwoven
    )


def _compile(text: str, original: ast.Module, path: str) -> CodeType:
    with warnings.catch_warnings():
        # what the parser had to say about the source, it said when it read the original
        warnings.simplefilter("ignore")
        try:
            woven = ast.parse(text, path)
        except SyntaxError as error:
            raise WeaveError("the woven source cannot be compiled", why=str(error)) from error
    restore(woven, original)
    code: CodeType = compile(woven, path, "exec", dont_inherit=True)
    return code


def _unwoven(code: CodeType, original: ast.Module, path: str) -> bytes:
    """The author's own code of functions that hold a scatter site: marshal of ``{(qualname, first line): code}``.

    Where it is off, a site costs its switch; and variables that its lambdas share with the function are slower everywhere in
    it. So a function whose sites are all off gets this code. Functions inside of others, and those that are no join points, keep
    the switch.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain: CodeType = compile(original, path, "exec", dont_inherit=True)
    woven = {(found.co_qualname, found.co_firstlineno): found for found in _functions(code)}
    kept: dict[tuple[str, int], CodeType] = {}
    for found in _functions(plain):
        key = found.co_qualname, found.co_firstlineno
        twin = woven.get(key)
        # a closure has its cells in the order of these names
        if twin is not None and _holds_site(twin) and twin.co_freevars == found.co_freevars:
            kept[key] = found
    return marshal.dumps(kept) if kept else b""


def _functions(code: CodeType) -> Iterator[CodeType]:
    """The functions of a module and of its classes."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_flags & _CO_OPTIMIZED:
                yield constant
            else:
                yield from _functions(constant)


def _holds_site(code: CodeType) -> bool:
    return ADVICE_NAME in code.co_names or any(
        isinstance(constant, CodeType) and _holds_site(constant) for constant in code.co_consts
    )


def _facts(tree: ast.Module, module: str) -> bytes:
    from bundlebee.bundles.facts import collect, encode

    return encode(collect(tree, module))
