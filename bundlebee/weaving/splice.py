"""Puts the advice into the source: a decorator line on each join point, a switch at each scatter site.

libcst keeps every blank, comment and line of the author's, so the woven text can be read and compared. The
walk goes over the syntax tree (which knows positions and is quick to search) and the concrete tree (which can
be printed) side by side, statement by statement, and looks below a statement only where there is something to
weave.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import libcst as cst

from bundlebee.errors import WeaveError
from bundlebee.weaving.joinpoints import FunctionNode, decide, mentions
from bundlebee.weaving.names import Names
from bundlebee.weaving.outcomes import ADVICE_NAME, ScatterSite, Skipped, SkippedSite, Woven
from bundlebee.weaving.sites import SiteWeaver, positions_of

Node = TypeVar("Node", bound=cst.CSTNode)

#: Words without which there is no scatter site in a line; the search for them costs next to nothing.
_SITE_WORDS = ("for", "map")


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
    body = walk.block(tree.body, module.body, _Scope("", False))
    return Spliced(module.with_changes(body=body).code, tuple(walk.points), tuple(walk.sites))


@dataclass(frozen=True, slots=True)
class _Scope:
    prefix: str  #: of the qualified names in it, "Class." or ""
    is_class: bool

    @property
    def name(self) -> str:
        return self.prefix.rstrip(".") or "<module>"


class _Walk:
    def __init__(self, module: cst.Module, tree: ast.Module, lines: list[str], scatter: bool) -> None:
        self.module = module
        self.names = Names(tree)
        self.lines = lines
        self.scatter = scatter
        self.points: list[Woven | Skipped] = []
        self.sites: list[ScatterSite | SkippedSite] = []

    def block(
        self, nodes: Sequence[ast.stmt], statements: Sequence[cst.CSTNode], scope: _Scope
    ) -> list[cst.CSTNode]:
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
        return done

    def _compound(self, node: Any, statement: Any, scope: _Scope) -> Any:
        match statement:
            case cst.FunctionDef():
                return self._function(node, statement, scope)
            case cst.ClassDef():
                return self._suite(node.body, statement, _Scope(f"{scope.prefix}{node.name}.", True))
            case cst.If() | cst.While() | cst.For():
                part = "iter" if isinstance(statement, cst.For) else "test"
                head = self._weave_sites([getattr(node, part)], getattr(statement, part), scope)
                statement = self._suite(node.body, statement.with_changes(**{part: head}), scope)
                if isinstance(statement.orelse, cst.If):
                    orelse: Any = self._compound(node.orelse[0], statement.orelse, scope)
                else:
                    orelse = self._suite(node.orelse, statement.orelse, scope)
                return statement.with_changes(orelse=orelse)
            case cst.Try() | cst.TryStar():
                statement = self._suite(node.body, statement, scope)
                handlers = [
                    self._suite(handler.body, clause, scope)
                    for handler, clause in zip(node.handlers, statement.handlers, strict=True)
                ]
                return statement.with_changes(
                    handlers=handlers,
                    orelse=self._suite(node.orelse, statement.orelse, scope),
                    finalbody=self._suite(node.finalbody, statement.finalbody, scope),
                )
            case cst.With():
                heads = [item.context_expr for item in node.items]
                items = [
                    item.with_changes(item=self._weave_sites([head], item.item, scope))
                    for head, item in zip(heads, statement.items, strict=True)
                ]
                return self._suite(node.body, statement.with_changes(items=items), scope)
            case cst.Match():
                cases = [
                    self._suite(case.body, clause, scope)
                    for case, clause in zip(node.cases, statement.cases, strict=True)
                ]
                return statement.with_changes(cases=cases)
            case _:
                return statement

    def _suite(self, nodes: Sequence[ast.stmt], owner: Any, scope: _Scope) -> Any:
        """The owner of a suite (or None) with its suite woven."""
        if owner is None:
            return None
        suite = owner.body
        if isinstance(suite, cst.SimpleStatementSuite):  # ``if x: y()`` holds no function
            return owner.with_changes(body=self._weave_sites(nodes, suite, scope))
        return owner.with_changes(body=suite.with_changes(body=self.block(nodes, suite.body, scope)))

    def _function(self, node: FunctionNode, statement: cst.FunctionDef, scope: _Scope) -> cst.FunctionDef:
        qualname = f"{scope.prefix}{node.name}"
        outcome = decide(node, qualname, self.lines)
        self.points.append(outcome)
        body = self._weave_sites(node.body, statement.body, _Scope(f"{qualname}.", False))
        statement = statement.with_changes(body=body)
        if isinstance(outcome, Skipped):
            return statement
        return statement.with_changes(decorators=[*statement.decorators, _decorator(qualname)])

    def _weave_sites(self, nodes: Sequence[ast.stmt | ast.expr], statement: Node, scope: _Scope) -> Node:
        if not self.scatter or scope.is_class:
            return statement
        if not any(mentions(node, self.lines, word) for node in nodes for word in _SITE_WORDS):
            return statement
        positions = positions_of(nodes)
        if not positions:
            return statement
        weaver = SiteWeaver(self.module, self.names, scope.name, positions, self.sites)
        woven = cast(Node, statement.visit(weaver))
        return woven if weaver.changed else statement


def _decorator(qualname: str) -> cst.Decorator:
    target = cst.Attribute(cst.Name(ADVICE_NAME), cst.Name("join_point"))
    return cst.Decorator(cst.Call(target, [cst.Arg(cst.SimpleString(f'"{qualname}"'))]))
