"""Gives a woven tree the positions of the original, and proves on the way that nothing else changed.

One walk in lock-step over both trees. Every node must have its twin, apart from the advice: the innermost
decorator, and the spread branch of a scatter site. So a module that comes out of here *is* the original plus
advice, and shows its author's lines and columns in tracebacks, `inspect.getsource`, pdb, coverage and
warnings.
"""

from __future__ import annotations

import ast
import re

from bundlebee.errors import WeaveError
from bundlebee.weaving.outcomes import ADVICE_NAME

_SWITCH = re.compile(r"s\d+\Z")
_POSITION = ("lineno", "col_offset", "end_lineno", "end_col_offset")


def restore(woven: ast.Module, original: ast.Module) -> None:
    """Copy all positions of `original` into `woven`, in place.

    Raises:
        WeaveError: the two differ in more than the advice.
    """
    _walk(woven, original)


def _walk(woven: ast.AST, original: ast.AST) -> None:
    todo: list[tuple[ast.AST, ast.AST]] = [(woven, original)]
    while todo:
        new, old = todo.pop()
        if is_site(new):
            _place(new, old)
            todo.append((new.orelse, old))  # type: ignore[attr-defined]
            continue
        if new.__class__ is not old.__class__:
            raise _changed(old)
        new_values, old_values = new.__dict__, old.__dict__
        if isinstance(new, (ast.FunctionDef, ast.AsyncFunctionDef)):
            _place_decorator(new, old)
        for field in new._fields:
            a, b = new_values.get(field), old_values.get(field)
            if a is b:  # None, interned names and the singletons of contexts and operators
                continue
            if isinstance(a, list) and isinstance(b, list):
                items = a[:-1] if field == "decorator_list" and _is_advised(a) else a
                if len(items) != len(b):
                    raise _changed(old)
                for x, y in zip(items, b, strict=True):
                    if isinstance(x, ast.AST) and isinstance(y, ast.AST):
                        todo.append((x, y))
                    elif x != y:
                        raise _changed(old)
            elif isinstance(a, ast.AST) and isinstance(b, ast.AST):
                todo.append((a, b))
            elif a.__class__ is not b.__class__ or a != b:
                raise _changed(old)
        _copy(new_values, old_values)


def is_site(node: ast.AST) -> bool:
    """Whether a node of a woven tree is a scatter site: ``<spread> if __bee__.s<N> else <original>``."""
    if node.__class__ is not ast.IfExp:
        return False
    test = node.test
    return (
        isinstance(test, ast.Attribute)
        and isinstance(test.value, ast.Name)
        and test.value.id == ADVICE_NAME
        and _SWITCH.match(test.attr) is not None
    )


def _is_advised(decorators: list[ast.expr]) -> bool:
    if not decorators:
        return False
    last = decorators[-1]
    return (
        isinstance(last, ast.Attribute) and isinstance(last.value, ast.Name) and last.value.id == ADVICE_NAME
    )


def _place_decorator(new: ast.FunctionDef | ast.AsyncFunctionDef, old: ast.AST) -> None:
    """The advice stands on the ``def`` line, which keeps the first line of the function where it was."""
    if _is_advised(new.decorator_list):
        line, column = old.lineno, old.col_offset  # type: ignore[attr-defined]
        for node in ast.walk(new.decorator_list[-1]):
            if "lineno" in node._attributes:
                node.__dict__.update(lineno=line, col_offset=column, end_lineno=line, end_col_offset=column)


def _place(site: ast.AST, old: ast.AST) -> None:
    """The spread branch stands where the original stands; the parts that it kept, where they did."""
    for node in ast.walk(site):
        if "lineno" in node._attributes:
            _copy(node.__dict__, old.__dict__)
    spread = site.body  # type: ignore[attr-defined]
    for field in ("elt", "key", "value"):
        part, twin = getattr(spread, field, None), getattr(old, field, None)
        if isinstance(part, ast.AST) and isinstance(twin, ast.AST):
            _align(part, twin)
    if isinstance(old, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        iterable = spread.generators[0].iter.args[2]
        _align(iterable, old.generators[0].iter)


def _align(new: ast.AST, old: ast.AST) -> None:
    """Like `_walk`, but where the trees part, the new part takes the position of the old one as a whole."""
    if is_site(new):
        _place(new, old)
        _align(new.orelse, old)  # type: ignore[attr-defined]
        return
    for node in ast.walk(new) if new.__class__ is not old.__class__ else (new,):
        if "lineno" in node._attributes:
            _copy(node.__dict__, old.__dict__)
    if new.__class__ is old.__class__:
        for a, b in zip(ast.iter_child_nodes(new), ast.iter_child_nodes(old), strict=False):
            if "lineno" in b.__dict__ or "lineno" not in a._attributes:
                _align(a, b)


def _copy(new: dict[str, object], old: dict[str, object]) -> None:
    if "lineno" in old:
        for name in _POSITION:
            new[name] = old[name]


def _changed(old: ast.AST) -> WeaveError:
    line = getattr(old, "lineno", None)
    where = f" near line {line}" if line is not None else ""
    return WeaveError("weaving would have changed the program", why=f"the trees differ{where}")
