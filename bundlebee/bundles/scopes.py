"""Variables, in the lowering of a function: where each name lives, and which register holds it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from bundlebee.bundles.facts import FunctionFacts
from bundlebee.bundles.own import mangled

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def _statements(node: FunctionNode) -> Sequence[ast.AST]:
    return [node.body] if isinstance(node, ast.Lambda) else node.body


def _own(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Every node of a function, without what belongs to nested functions and classes."""
    for node in nodes:
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            values = (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults)
            yield from _own(value for value in values if value is not None)
        elif isinstance(node, ast.Lambda):
            yield from _own(
                value for value in (*node.args.defaults, *node.args.kw_defaults) if value is not None
            )
        elif not isinstance(node, ast.ClassDef):
            yield from _own(ast.iter_child_nodes(node))


def _comprehension_targets(node: ast.AST) -> set[int]:
    """Identities of the name nodes that a comprehension binds for itself."""
    found: set[int] = set()
    for child in ast.walk(node):
        if isinstance(child, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            for generator in child.generators:
                found.update(id(name) for name in ast.walk(generator.target) if isinstance(name, ast.Name))
    return found


class Scope:
    """The variables of one function, and the operations that it is lowered to."""

    def __init__(
        self,
        node: FunctionNode,
        prefix: str,
        owner: str | None,
        functions: list[FunctionFacts | None],
        parent: Scope | None,
    ) -> None:
        self.node = node
        self.owner = owner
        self.functions = functions
        self.parent = parent
        name = "<lambda>" if isinstance(node, ast.Lambda) else node.name
        self.qualname = prefix + name
        decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
        self.line = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        self.position = len(functions)
        functions.append(None)  # its place in the order; filled when it is done
        self.operations: list[tuple[Any, ...]] = []
        self.variables: dict[str, int] = {}
        self.inner: list[dict[str, int]] = []  # variables of the comprehensions that we are in
        self.exposed: dict[str, int] = {}  # what nested functions see, by name
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        self.free: dict[str, None] = {}
        self.size = 1
        self.generator = False
        self.numbers = 0
        self.handlers = 0

    # -- names -------------------------------------------------------------------------------------------

    def register(self) -> int:
        self.size += 1
        return self.size - 1

    def emit(self, *operation: Any) -> None:
        self.operations.append(operation)

    def mangle(self, name: str) -> str:
        return mangled(name, self.owner)

    def declare(self) -> None:
        """Give every local variable its register."""
        body = list(_own(_statements(self.node)))
        mine: set[int] = set()
        for statement in _statements(self.node):
            mine |= _comprehension_targets(statement)
        bound: dict[str, None] = {}
        for node in body:
            if isinstance(node, ast.Global):
                self.globals.update(map(self.mangle, node.names))
            elif isinstance(node, ast.Nonlocal):
                self.nonlocals.update(map(self.mangle, node.names))
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                if id(node) not in mine:
                    bound[self.mangle(node.id)] = None
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                bound[self.mangle(node.name)] = None
            elif isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    bound[self.mangle((alias.asname or alias.name).partition(".")[0])] = None
            elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
                bound[self.mangle(node.name)] = None
            elif isinstance(node, ast.MatchMapping) and node.rest:
                bound[self.mangle(node.rest)] = None
        for name in bound:
            if name not in self.globals and name not in self.nonlocals and name not in self.variables:
                self.variables[name] = self.register()

    def resolve(self, name: str) -> tuple[str, int | str]:
        """Where a name lives: ("local", register), ("free", name) or ("name", name)."""
        for scope in reversed(self.inner):
            if name in scope:
                return "local", scope[name]
        if name in self.globals:
            return "name", name
        if name in self.variables:
            return "local", self.variables[name]
        if self.parent is not None and self.parent.provides(name):
            self.free[name] = None
            return "free", name
        return "name", name

    def provides(self, name: str) -> bool:
        """Whether a nested function finds a variable of that name here or further out."""
        kind, where = self.resolve(name)
        if kind == "local":
            known = self.exposed.setdefault(name, int(where))
            if known != where:  # two variables of one name, one of them a comprehension's: taken as one
                self.emit("copy", self.line, known, where)
                self.emit("copy", self.line, where, known)
        return kind != "name"

    def load(self, name: str, line: int) -> int:
        name = self.mangle(name)
        kind, where = self.resolve(name)
        if kind == "local":
            return int(where)
        if name == "__class__":
            self.emit("bad", line, "uses __class__")
            return 0
        register = self.register()
        self.emit(kind, line, register, where)
        return register

    def store(self, name: str, source: int, line: int) -> None:
        name = self.mangle(name)
        kind, where = self.resolve(name)
        if kind == "local":
            self.emit("copy", line, where, source)
        elif kind == "free":
            self.emit("setfree", line, where, source)
        else:
            self.emit("bad", line, f"writes module global {name!r}")
