"""Which functions become join points, and why the others do not."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from bundlebee.weaving.outcomes import Skipped, Woven
from bundlebee.weaving.stack import FunctionNode, below_lookers

#: Methods that our own machinery calls while it looks at an object; advice on them would call itself.
_MACHINERY = frozenset(
    {
        "__getattribute__",
        "__getattr__",
        "__setattr__",
        "__delattr__",
        "__new__",
        "__init_subclass__",
        "__class_getitem__",
        "__set_name__",
        "__del__",
        "__reduce__",
        "__reduce_ex__",
        "__getstate__",
        "__setstate__",
        "__getnewargs__",
        "__getnewargs_ex__",
        "__hash__",
        "__eq__",
        "__instancecheck__",
        "__subclasscheck__",
        "__subclasshook__",
        "__prepare__",
        "__mro_entries__",
    }
)

#: Decorators that compile the code they are given; they must see the author's.
_COMPILERS = frozenset(
    {
        "jit",
        "njit",
        "vectorize",
        "guvectorize",
        "generated_jit",
        "cfunc",
        "stencil",
    }
)

_OVERLOAD = "only declares an overload"


def decide(
    node: FunctionNode, qualname: str, lines: Sequence[str], stack: Mapping[FunctionNode, str]
) -> Woven | Skipped:
    """Whether a function of a module or class is woven.

    Args:
        node: its definition.
        qualname: as the function will have it.
        lines: the text of the module.
        stack: what `bundlebee.weaving.stack.below_lookers` found in the module.
    """
    reason = _objection(node, lines) or stack.get(node)
    return Woven(qualname, node.lineno) if reason is None else Skipped(qualname, node.lineno, reason)


def outcomes(tree: ast.Module, lines: Sequence[str]) -> Iterator[Woven | Skipped]:
    """What the weaver decides on all functions of a module, without weaving it. Overloads are no functions."""
    yield from _outcomes(tree.body, lines, "", below_lookers(tree, lines))


def _outcomes(
    body: Sequence[ast.stmt], lines: Sequence[str], prefix: str, stack: Mapping[FunctionNode, str]
) -> Iterator[Woven | Skipped]:
    for node in body:
        if isinstance(node, FunctionNode):
            outcome = decide(node, prefix + node.name, lines, stack)
            if not (isinstance(outcome, Skipped) and outcome.reason == _OVERLOAD):
                yield outcome
        elif isinstance(node, ast.ClassDef):
            yield from _outcomes(node.body, lines, f"{prefix}{node.name}.", stack)
        else:
            for part in ("body", "orelse", "finalbody"):
                yield from _outcomes(getattr(node, part, ()), lines, prefix, stack)
            for inner in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
                yield from _outcomes(inner.body, lines, prefix, stack)


def _objection(node: FunctionNode, lines: Sequence[str]) -> str | None:
    yields = mentions(node, lines, "yield") and any(
        isinstance(inner, (ast.Yield, ast.YieldFrom)) for inner in _own_scope(node)
    )
    if yields:
        return "is an asynchronous generator" if isinstance(node, ast.AsyncFunctionDef) else "is a generator"
    if node.name in _MACHINERY:
        return "is called by the machinery of pickling and attribute access"
    for decorator in node.decorator_list:
        name = _last_name(decorator)
        if name == "overload":
            return _OVERLOAD
        if name in _COMPILERS:
            return f"is compiled by its decorator {name}"
    return None


def mentions(node: ast.stmt | ast.expr, lines: Sequence[str], word: str) -> bool:
    """Whether a word occurs in the lines of a node: far cheaper than a look at all nodes below it."""
    return any(word in line for line in lines[node.lineno - 1 : node.end_lineno])


def _own_scope(function: FunctionNode) -> Iterator[ast.AST]:
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))


def _last_name(decorator: ast.expr) -> str:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(target, ast.Attribute):
        return target.attr
    return target.id if isinstance(target, ast.Name) else ""
