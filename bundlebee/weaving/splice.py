"""Puts the advice into the source: a decorator line on each join point, a switch at each scatter site.

libcst keeps every blank, comment and line of the author's, so the woven text can be read and compared. The
walk goes over the syntax tree (which knows positions and is quick to search) and the concrete tree (which can
be printed) side by side, statement by statement, and looks below a statement only where there is something to
weave.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import libcst as cst

from bundlebee.errors import WeaveError
from bundlebee.weaving.joinpoints import decide, mentions
from bundlebee.weaving.names import Names
from bundlebee.weaving.outcomes import ADVICE_NAME, ScatterSite, Skipped, SkippedSite, Woven
from bundlebee.weaving.sites import SiteWeaver, positions_of
from bundlebee.weaving.stack import FunctionNode, below_lookers

Node = TypeVar("Node", bound=cst.CSTNode)

#: Words without which there is no scatter site in a line; the search for them costs next to nothing.
_SITE_WORDS = ("for", "map")

_ADVICE = cst.Decorator(cst.Attribute(cst.Name(ADVICE_NAME), cst.Name("join_point")))


@dataclass(frozen=True, slots=True)
class Spliced:
    """Woven source, and what became of the functions and comprehensions in it."""

    text: str
    points: tuple[Woven | Skipped, ...]
    sites: tuple[ScatterSite | SkippedSite, ...]


def splice(text: str, tree: ast.Module, *, scatter: bool = True) -> Spliced:
    """Weave a module's source.

    Args:
        text: decoded source, lines ending in ``\\n``.
        tree: the syntax tree of the same source.
        scatter: whether to weave scatter sites too.

    Raises:
        WeaveError: libcst cannot read it.
    """
    try:
        module = cst.parse_module(text)
    except cst.ParserSyntaxError as error:
        raise WeaveError("libcst cannot read the module", why=str(error).partition("\n")[0]) from error
    walk = _Walk(module, tree, text.split("\n"), scatter)
    body = walk.block(tree.body, module.body, _Scope())
    return Spliced(_with(module, body=body).code, tuple(walk.points), tuple(walk.sites))


@dataclass(frozen=True, slots=True)
class _Scope:
    prefix: str = ""  #: of the qualified names in it: "Class.", or the function's own name and a dot
    is_class: bool = False  #: whether statements run in a class body
    in_function: bool = False  #: whether it is inside a function, where there are no join points

    @property
    def name(self) -> str:
        return self.prefix.rstrip(".") or "<module>"


class _Walk:
    """One pass over a module. A tree in which nothing changes comes back as the same object."""

    def __init__(self, module: cst.Module, tree: ast.Module, lines: list[str], scatter: bool) -> None:
        self.module = module
        self.names = Names(tree)
        self.lines = lines
        self.stack = below_lookers(tree, lines)
        self.scatter = scatter
        self.points: list[Woven | Skipped] = []
        self.sites: list[ScatterSite | SkippedSite] = []

    def block(
        self, nodes: Sequence[ast.stmt], statements: Sequence[cst.CSTNode], scope: _Scope
    ) -> Sequence[cst.CSTNode]:
        """The statements of a block, woven; `nodes` are the same statements in the syntax tree."""
        done: list[cst.CSTNode] = []
        i = 0
        for statement in statements:
            if isinstance(statement, cst.SimpleStatementLine):
                group = nodes[i : i + len(statement.body)]
                i += len(statement.body)
                done.append(self._weave_sites(group, statement, scope))
            else:
                if i >= len(nodes):
                    break
                done.append(self._compound(nodes[i], statement, scope))
                i += 1
        if i != len(nodes) or len(done) != len(statements):
            raise WeaveError("libcst and Python read the module differently")
        return statements if all(map(operator.is_, done, statements)) else done

    def _compound(self, node: Any, statement: Any, scope: _Scope) -> Any:
        match statement:
            case cst.FunctionDef():
                return self._function(node, statement, scope)
            case cst.ClassDef():
                prefix = scope.prefix if scope.in_function else f"{scope.prefix}{node.name}."
                return self._suite(node.body, statement, replace(scope, prefix=prefix, is_class=True))
            case cst.If() | cst.While() | cst.For():
                part = "iter" if isinstance(statement, cst.For) else "test"
                head = self._weave_sites([getattr(node, part)], getattr(statement, part), scope)
                woven = self._suite(node.body, _with(statement, **{part: head}), scope)
                if isinstance(statement.orelse, cst.If):
                    return _with(woven, orelse=self._compound(node.orelse[0], statement.orelse, scope))
                return _with(woven, orelse=self._suite(node.orelse, statement.orelse, scope))
            case cst.Try() | cst.TryStar():
                return _with(
                    self._suite(node.body, statement, scope),
                    handlers=self._suites(node.handlers, statement.handlers, scope),
                    orelse=self._suite(node.orelse, statement.orelse, scope),
                    finalbody=self._suite(node.finalbody, statement.finalbody, scope),
                )
            case cst.With():
                items = [
                    _with(item, item=self._weave_sites([twin.context_expr], item.item, scope))
                    for twin, item in zip(node.items, statement.items, strict=True)
                ]
                return self._suite(node.body, _with(statement, items=items), scope)
            case cst.Match():
                return _with(statement, cases=self._suites(node.cases, statement.cases, scope))
            case _:
                return statement

    def _suites(self, nodes: Sequence[Any], owners: Sequence[Any], scope: _Scope) -> Sequence[Any]:
        return [self._suite(node.body, owner, scope) for node, owner in zip(nodes, owners, strict=True)]

    def _suite(self, nodes: Sequence[ast.stmt], owner: Any, scope: _Scope) -> Any:
        """The owner of a suite (or None) with its suite woven."""
        if owner is None:
            return None
        suite = owner.body
        if isinstance(suite, cst.SimpleStatementSuite):  # ``if x: y()`` holds no function
            return _with(owner, body=self._weave_sites(nodes, suite, scope))
        return _with(owner, body=_with(suite, body=self.block(nodes, suite.body, scope)))

    def _function(self, node: FunctionNode, statement: cst.FunctionDef, scope: _Scope) -> Any:
        inner = replace(scope, is_class=False, in_function=True)
        if not scope.in_function:
            qualname = f"{scope.prefix}{node.name}"
            outcome = decide(node, qualname, self.lines, self.stack)
            self.points.append(outcome)
            inner = replace(inner, prefix=f"{qualname}.")
            if isinstance(outcome, Woven):
                decorators = [*statement.decorators, _ADVICE]
                statement = statement.with_changes(decorators=decorators)
        if self._may_hold_sites(node.body):
            return self._suite(node.body, statement, inner)
        return statement

    def _may_hold_sites(self, nodes: Sequence[ast.stmt | ast.expr]) -> bool:
        return self.scatter and any(
            mentions(node, self.lines, word) for node in nodes for word in _SITE_WORDS
        )

    def _weave_sites(self, nodes: Sequence[ast.stmt | ast.expr], statement: Node, scope: _Scope) -> Node:
        if scope.is_class or not self._may_hold_sites(nodes):
            return statement
        positions = positions_of(nodes)
        if not positions:
            return statement
        weaver = SiteWeaver(self.module, self.names, scope.name, positions, self.sites)
        woven = cast(Node, statement.visit(weaver))
        return woven if weaver.changed else statement


def _with(node: Any, **parts: Any) -> Any:
    """The node with these parts; itself if it has them already."""
    for name, part in parts.items():
        now = getattr(node, name)
        if part is not now and not (
            isinstance(part, list) and len(part) == len(now) and all(map(operator.is_, part, now))
        ):
            return node.with_changes(**parts)
    return node
