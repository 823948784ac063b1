"""Functions that look far up the stack, and those of their module that call one.

An advised call has frames of ours above the function's own. A function that looks at its caller's frame is never
advised (`joinpoint`), and finds the caller it expects. One that looks further up (``sys._getframe(2)``, a walk along
``f_back``) would meet our frames instead of those above its caller. So it is not woven, nor who calls it, nor who calls that: by
name, within one module, where helpers of this kind are used. (`warnings.warn` counts its frames by itself, see
`bundlebee.hooks.warned`.)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

_WORDS = ("_getframe", "f_back", "stack", "getouterframes")
"""Without one of these, nothing in a line looks further up than its caller."""

_FAR = frozenset({"f_back", "getouterframes", "walk_stack", "extract_stack", "format_stack", "print_stack"})
_COUNTING = frozenset({"_getframe", "_getframemodulename"})


def below_lookers(tree: ast.Module, lines: Sequence[str]) -> Mapping[FunctionNode, str]:
    """The functions that look far up the stack or reach one that does, each with the reason why it is not woven."""
    if not any(word in line for line in lines for word in _WORDS):
        return {}
    functions = list(_functions(tree, ""))
    names: dict[str, str] = {}  # by which a looker, or who reaches one, is called → the looker
    found: dict[FunctionNode, str] = {}
    for function, owner in functions:
        if any(_looks_far(node) for node in ast.walk(function)):
            found[function] = "looks up the stack"
            _call_it(function, owner, function.name, names)
    before = -1
    while names and len(found) > before:
        before = len(found)
        for function, owner in functions:
            if function not in found and (looker := _reached(function, names)) is not None:
                found[function] = f"calls {looker}, which looks up the stack"
                _call_it(function, owner, looker, names)
    return found


def _functions(node: ast.AST, owner: str) -> Iterator[tuple[FunctionNode, str]]:
    """The functions and methods of a module, with the names of their classes; not those inside of functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FunctionNode):
            yield child, owner
        elif not isinstance(child, ast.expr):
            yield from _functions(child, child.name if isinstance(child, ast.ClassDef) else owner)


def _call_it(function: FunctionNode, owner: str, looker: str, names: dict[str, str]) -> None:
    if function.name in ("__init__", "__new__", "__post_init__"):
        names.setdefault(owner, looker)
    elif not function.name.startswith("__"):
        names.setdefault(function.name, looker)


def _reached(function: FunctionNode, names: Mapping[str, str]) -> str | None:
    for statement in function.body:
        for node in ast.walk(statement):
            name = (
                node.id
                if isinstance(node, ast.Name)
                else node.attr
                if isinstance(node, ast.Attribute)
                else ""
            )
            if name in names and name != function.name:
                return names[name]
    return None


def _looks_far(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute) and node.attr in _FAR:
        return True
    if isinstance(node, ast.Name) and node.id in _FAR:
        return True
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    name = (
        called.attr
        if isinstance(called, ast.Attribute)
        else called.id
        if isinstance(called, ast.Name)
        else ""
    )
    if name == "stack":  # of inspect
        return not isinstance(called, ast.Attribute) or (
            isinstance(called.value, ast.Name) and "inspect" in called.value.id
        )
    if name not in _COUNTING or not node.args:
        return False
    depth = node.args[0]
    return not (isinstance(depth, ast.Constant) and depth.value in (0, 1))
