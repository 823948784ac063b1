"""Weaves one module: from the bytes of its source to code, with advice and its author's positions."""

from __future__ import annotations

import ast
import warnings
from importlib.util import decode_source
from types import CodeType

from bundlebee.errors import WeaveError
from bundlebee.weaving.cache import digest_of
from bundlebee.weaving.outcomes import WovenModule
from bundlebee.weaving.positions import restore
from bundlebee.weaving.splice import splice

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
        facts = _facts(original, module)
    except RecursionError as error:
        raise WeaveError(f"{module} cannot be woven", why="its expressions are nested too deeply") from error
    return WovenModule(
        module, path, spliced.text, code, spliced.points, spliced.sites, facts, digest_of(source)
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


def _facts(tree: ast.Module, module: str) -> bytes:
    from bundlebee.bundles.facts import collect, encode

    return encode(collect(tree, module))
