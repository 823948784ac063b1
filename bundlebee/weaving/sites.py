"""Finds the expressions whose calls may be spread: comprehensions, generators and maps consumed at once.

What a woven one looks like is in `bundlebee.weaving.spread`. Here is where it may stand: in a function or at
module level, not in the own scope of another comprehension (the outer one is the better place to spread), not
in a class body (the lambdas of the woven form would not see its names), not in a default, decorator or
annotation.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any, cast

import libcst as cst

from bundlebee.weaving.names import Names
from bundlebee.weaving.operands import dotted, objection
from bundlebee.weaving.outcomes import ScatterSite, SkippedSite
from bundlebee.weaving.spread import Comprehension, NotSpread, Spread, spread_comprehension, spread_map

#: Builtins that take all of an iterable at once, before the next line runs.
_CONSUMERS = frozenset(
    {
        "list",
        "tuple",
        "set",
        "frozenset",
        "dict",
        "sum",
        "min",
        "max",
        "sorted",
        "any",
        "all",
    }
)

#: Places in which nothing is spread.
_CLOSED = (cst.ClassDef, cst.Decorator, cst.Annotation, cst.Param, cst.TypeParameters)

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def positions_of(nodes: Sequence[ast.AST]) -> list[tuple[int, int]]:
    """(line, column) of all comprehensions and calls of ``map`` below some nodes, in source order."""
    found = []
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.JoinedStr) or node.__class__.__name__ == "TemplateStr":
            continue  # before 3.12, positions inside an f-string are not those of the file
        if isinstance(node, _COMPREHENSIONS) or (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "map"
        ):
            found.append((node.lineno, node.col_offset))
        todo.extend(ast.iter_child_nodes(node))
    return sorted(found)


class SiteWeaver(cst.CSTTransformer):
    """Rewrites the scatter sites below one node.

    Args:
        module: for its indentation and newlines.
        names: who binds what in the module.
        qualname: what reports call the place.
        positions: from `positions_of` of the same code, not empty.
        sites: where the outcomes go; the index of a site counts the `ScatterSite`s before it.
    """

    def __init__(
        self,
        module: cst.Module,
        names: Names,
        qualname: str,
        positions: Sequence[tuple[int, int]],
        sites: list[ScatterSite | SkippedSite],
    ) -> None:
        super().__init__()
        self.changed = False
        self._module = module
        self._names = names
        self._qualname = qualname
        self._positions = positions
        self._sites = sites
        self._count = 0
        self._open = [True]  # whether a candidate may be spread here; the last entry holds now
        self._inner_loops: set[cst.CompFor] = set()
        self._seen: dict[cst.CSTNode, tuple[int, int]] = {}  # the candidates in places that allow it

    def on_visit(self, node: cst.CSTNode) -> bool:
        match node:
            case cst.ListComp() | cst.SetComp() | cst.DictComp() | cst.GeneratorExp():
                self._note(node)
                self._open.append(False)
            case cst.Call(func=cst.Name(value="map")):
                self._note(node)
            case cst.CompFor(inner_for_in=cst.CompFor() as inner):
                self._inner_loops.add(inner)
            case cst.FunctionDef():
                self._open.append(True)
            case _ if isinstance(node, _CLOSED):
                self._open.append(False)
            case _ if type(node).__name__ in ("FormattedString", "TemplatedString"):
                return False
        return True

    def on_visit_attribute(self, node: cst.CSTNode, attribute: str) -> None:
        if isinstance(node, cst.CompFor) and attribute == "iter":
            # the first iterable is evaluated in the scope around the comprehension
            self._open.append(self._open[-2] and node not in self._inner_loops)

    def on_leave_attribute(self, original_node: cst.CSTNode, attribute: str) -> None:
        if isinstance(original_node, cst.CompFor) and attribute == "iter":
            self._open.pop()

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        match original_node:
            case cst.ListComp() | cst.SetComp() | cst.DictComp():
                self._open.pop()
                return self._spread(original_node, updated_node)
            case cst.GeneratorExp() | cst.FunctionDef():
                self._open.pop()
            case cst.Call():
                return self._leave_call(original_node, updated_node)
            case cst.StarredElement():
                return self._leave_starred(original_node, updated_node)
            case cst.Arg(star="*"):
                return self._leave_starred(original_node, updated_node)
            case _ if isinstance(original_node, _CLOSED):
                self._open.pop()
        return updated_node

    def _note(self, node: cst.CSTNode) -> None:
        place = self._positions[min(self._count, len(self._positions) - 1)]
        self._count += 1
        if self._open[-1]:
            self._seen[node] = place

    def _leave_starred(self, original: Any, updated: Any) -> Any:
        """``*map(f, xs)`` in a call or a display is consumed on the spot."""
        if self._is_lazy(original.value):
            return updated.with_changes(value=self._spread(original.value, updated.value))
        return updated

    def _leave_call(self, original: cst.Call, updated: cst.Call) -> cst.Call:
        if not original.args or not self._consumes(original) or not self._is_lazy(original.args[0].value):
            return updated
        first, *others = updated.args
        if any(
            objection(other.value, self._names) and not isinstance(other.value, cst.Lambda)
            for other in others
        ):
            return updated
        return updated.with_changes(
            args=[first.with_changes(value=self._spread(original.args[0].value, first.value)), *others]
        )

    def _consumes(self, call: cst.Call) -> bool:
        first = call.args[0]
        if first.star or first.keyword is not None:
            return False
        match call.func:
            case cst.Name(value=name):
                return name in _CONSUMERS and self._names.is_builtin(name)
            case cst.Attribute(
                value=cst.SimpleString() | cst.ConcatenatedString(), attr=cst.Name(value="join")
            ):
                return True
        return False

    def _is_lazy(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.GeneratorExp):
            return True
        return isinstance(node, cst.Call) and dotted(node.func) == "map" and self._names.is_builtin("map")

    def _spread(self, original: cst.BaseExpression, updated: cst.BaseExpression) -> cst.BaseExpression:
        if original not in self._seen:
            return updated
        line, column = self._seen[original]
        index = sum(isinstance(site, ScatterSite) for site in self._sites)
        outcome: Spread | NotSpread | None
        if isinstance(updated, cst.Call):
            outcome = spread_map(updated, index, self._names, self._module)
        else:
            outcome = spread_comprehension(cast(Comprehension, updated), index, self._names, self._module)
        match outcome:
            case Spread():
                self._sites.append(
                    ScatterSite(
                        index,
                        outcome.kind,
                        outcome.callee,
                        self._qualname,
                        line,
                        column,
                        outcome.attributes,
                        outcome.fresh,
                    )
                )
                self.changed = True
                return cst.parse_expression(outcome.text, config=self._module.config_for_parsing)
            case NotSpread():
                self._sites.append(
                    SkippedSite(outcome.kind, outcome.callee, self._qualname, line, column, outcome.reason)
                )
        return updated
