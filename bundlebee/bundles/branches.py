"""Branches, in the lowering of a function: what a test says of a variable, and where that holds.

``if isinstance(x, type): a(x) else: b(x)``: within each branch the variable has a register of its own, with that part of its
values for which the test comes out so (operations ``none``, ``some``, ``kind`` and ``same``). Where nothing is left, the branch is not
taken (``only``). This holds from the test up to the first statement in which the variable may be bound anew; behind an ``if`` of
which one branch always leaves, it holds for the rest of the block.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from bundlebee.bundles.scopes import Scope

_BINDING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_LEAVING = (ast.Return, ast.Raise, ast.Continue, ast.Break)


class Claim(NamedTuple):
    """What is true of a variable: one of the alternatives. Each is an operation without line, target and source."""

    variable: int  #: its own register
    alternatives: tuple[tuple[object, ...], ...]


Claims = tuple[Claim, ...]


class Branches(Scope):
    """Claims: made by tests, true within branches."""

    def test(self, node: ast.expr) -> tuple[Claims, Claims]:
        """What is true where a test comes out true, and where it comes out false. It has been lowered before."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            true, false = self.test(node.operand)
            return false, true
        if isinstance(node, ast.BoolOp):
            parts = [self.test(value) for value in node.values]
            if isinstance(node.op, ast.And):
                return _all(true for true, _ in parts), _any([false for _, false in parts])
            return _any([true for true, _ in parts]), _all(false for _, false in parts)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            operator = node.ops[0]
            if isinstance(operator, ast.Is):
                return self._identity(node)
            if isinstance(operator, ast.IsNot):
                true, false = self._identity(node)
                return false, true
        if isinstance(node, ast.Name):  # None is false
            variable = self._variable_of(node)
            return () if variable is None else (Claim(variable, (("some",),)),), ()
        if isinstance(node, ast.Call) and id(node) in self.tested:
            variable = self._variable_of(node.args[0])
            if variable is not None:
                function, classes = self.tested[id(node)]
                true, false = (
                    (Claim(variable, (("kind", function, classes, sense),)),) for sense in (True, False)
                )
                return true, false
        return (), ()

    def _identity(self, node: ast.Compare) -> tuple[Claims, Claims]:
        """``x is None``, ``x is y``"""
        variable = self._variable_of(node.left)
        other = node.comparators[0]
        if variable is None:
            return (), ()
        if isinstance(other, ast.Constant) and other.value is None:
            return (Claim(variable, (("none",),)),), (Claim(variable, (("some",),)),)
        if id(node) in self.tested:
            return (Claim(variable, (("same", self.tested[id(node)][1][0]),)),), ()
        return (), ()

    def _variable_of(self, node: ast.expr) -> int | None:
        """The register of a variable that nobody but this function binds."""
        if not isinstance(node, ast.Name):
            return None
        kind, where = self.resolve(self.mangle(node.id))
        if kind != "local" or self.bound_by_others(node.id):
            return None
        return int(where)

    def bound_by_others(self, name: str) -> bool:
        """Whether a nested function may bind a variable of that name."""
        if self.bound_inside is None:
            self.bound_inside = {
                name for part in ast.walk(self.node) if isinstance(part, ast.Nonlocal) for name in part.names
            }
        # private names are other names in nested classes
        return name in self.bound_inside or any(name.startswith("__") for name in self.bound_inside)

    # -- where they hold -----------------------------------------------------------------------------------

    @contextmanager
    def within(self, claims: Claims, line: int, *nodes: ast.AST) -> Iterator[None]:
        """What is lowered inside runs only where the claims are true.

        Args:
            nodes: expressions in which variables may be bound; nothing is claimed of these. (`forget` looks at statements.)
        """
        if not claims:
            yield
            return
        before = dict(self.narrowed)
        bound = self.bound_in(nodes)
        places = []
        for variable, alternatives in claims:
            source = before.get(variable, variable)
            target = self.register()
            for code, *rest in alternatives:
                self.emit(code, line, target, source, *rest)
            places.append(len(self.operations))
            self.emit("only", line, target, source, 0)
            if variable not in bound:
                self.narrowed[variable] = target
        yield
        for place in places:
            code, at, target, source, _ = self.operations[place]
            self.operations[place] = (code, at, target, source, len(self.operations) - place - 1)
        self.narrowed = before

    def forget(self, node: ast.AST) -> None:
        """Variables that a statement may bind are from now on what they may be anywhere."""
        if self.narrowed:
            for register in self.bound_in([node]):
                self.narrowed.pop(register, None)

    def bound_in(self, nodes: Iterable[ast.AST]) -> set[int]:
        """The registers of the variables that code may bind. A comprehension's own variables may be among them."""
        names: set[str] = set()
        for node in nodes:
            for part in ast.walk(node):
                if isinstance(part, ast.Name):
                    if not isinstance(part.ctx, ast.Load):
                        names.add(part.id)
                elif isinstance(part, _BINDING):
                    names.add(part.name)
                elif isinstance(part, ast.alias):
                    names.add((part.asname or part.name).partition(".")[0])
                elif isinstance(part, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and part.name:
                    names.add(part.name)
                elif isinstance(part, ast.MatchMapping) and part.rest:
                    names.add(part.rest)
        found = (self.resolve(self.mangle(name)) for name in names)
        return {int(where) for kind, where in found if kind == "local"}

    def remaining(self, node: ast.If) -> Claims:
        """What is true behind an ``if``, because one of its branches leaves."""
        true, false = self.test(node.test)
        if leaves(node.body):
            claims, other = false, node.orelse
        elif leaves(node.orelse):
            claims, other = true, node.body
        else:
            return ()
        if not claims:
            return ()
        bound = self.bound_in([node.test, *other])
        return tuple(claim for claim in claims if claim.variable not in bound)


def leaves(nodes: Sequence[ast.stmt]) -> bool:
    """Whether statements surely do not come to their end."""
    if not nodes:
        return False
    last = nodes[-1]
    if isinstance(last, ast.If):
        return leaves(last.body) and leaves(last.orelse)
    if isinstance(last, ast.Try):
        plain = leaves(last.body) or leaves(last.orelse)
        return leaves(last.finalbody) or (plain and all(leaves(handler.body) for handler in last.handlers))
    return isinstance(last, _LEAVING)


def _all(parts: Iterable[Claims]) -> Claims:
    """All of them are true. Of each variable the first thing that is said."""
    found: dict[int, Claim] = {}
    for claims in parts:
        for claim in claims:
            found.setdefault(claim.variable, claim)
    return tuple(found.values())


def _any(parts: list[Claims]) -> Claims:
    """At least one of them is true. That says something if all speak of one variable."""
    if not all(len(claims) == 1 for claims in parts) or len({claims[0].variable for claims in parts}) != 1:
        return ()
    return (
        Claim(
            parts[0][0].variable,
            tuple(alternative for (claim,) in parts for alternative in claim.alternatives),
        ),
    )
