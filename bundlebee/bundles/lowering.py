"""From a syntax tree to the operations that `bundlebee.bundles.facts` describes.

Comprehensions and generator expressions are folded into the function they are in, with variables of their own.
Nested functions and lambdas are lowered beside it. Code at the level of modules and classes is searched for
functions only: what it does, it did at import.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from contextlib import ExitStack

from bundlebee.bundles.branches import leaves
from bundlebee.bundles.expressions import OPERATORS, Expressions
from bundlebee.bundles.facts import ASYNC_GENERATOR, COROUTINE, GENERATOR, PLAIN, FunctionFacts
from bundlebee.bundles.scopes import FunctionNode


def lower(tree: ast.Module) -> list[FunctionFacts]:
    """All functions of the module, in the order of the source as far as nesting allows."""
    functions: list[FunctionFacts | None] = []
    _search(tree.body, "", None, functions)
    return [facts for facts in functions if facts is not None]


def _search(
    nodes: Iterable[ast.AST], prefix: str, owner: str | None, functions: list[FunctionFacts | None]
) -> None:
    """Find the functions in module-level or class-level code."""
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            _search((*node.decorator_list, *node.bases, *node.keywords), prefix, owner, functions)
            _search(node.body, f"{prefix}{node.name}.", node.name, functions)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            outside = [] if isinstance(node, ast.Lambda) else list(node.decorator_list)
            arguments = node.args
            outside += [value for value in (*arguments.defaults, *arguments.kw_defaults) if value is not None]
            _search(outside, prefix, owner, functions)
            Lowering(node, prefix, owner, functions, None).lower()
        else:
            _search(ast.iter_child_nodes(node), prefix, owner, functions)


class Lowering(Expressions):
    """Lowers one function: its statements, and through the base classes its expressions and variables."""

    def lower(self) -> int:
        """Returns its number."""
        node = self.node
        arguments = node.args
        positional = [self.mangle(argument.arg) for argument in (*arguments.posonlyargs, *arguments.args)]
        keyword_only = [self.mangle(argument.arg) for argument in arguments.kwonlyargs]
        star = self.mangle(arguments.vararg.arg) if arguments.vararg else None
        double_star = self.mangle(arguments.kwarg.arg) if arguments.kwarg else None
        for name in (*positional, *keyword_only, star, double_star):
            if name is not None:
                self.variables[name] = self.register()
        self.declare()
        if isinstance(node, ast.Lambda):
            self.emit("return", node.body.lineno, self.expression(node.body))
        else:
            self.statements(node.body)
            if not self.generator and not leaves(node.body):
                self.emit("return", node.lineno, self.none())
        # in front of everything: no branch that is not taken has them to itself
        for code, register in (("number", self.numbers), ("nothing", self.nothing)):
            if register:
                self.operations.insert(0, (code, self.line, register))
        kind = PLAIN
        if isinstance(node, ast.AsyncFunctionDef):
            kind = ASYNC_GENERATOR if self.generator else COROUTINE
        elif self.generator:
            kind = GENERATOR
        self.functions[self.position] = FunctionFacts(
            qualname=self.qualname,
            line=self.line,
            kind=kind,
            positional=tuple(positional),
            keyword_only=tuple(keyword_only),
            star=star,
            double_star=double_star,
            variables={**self.variables, **self.exposed},
            free=tuple(self.free),
            size=self.size,
            operations=tuple(self.operations),
        )
        return self.position

    def lower_inner(self, node: FunctionNode) -> int:
        return Lowering(node, f"{self.qualname}.<locals>.", self.owner, self.functions, self).lower()

    def statements(self, nodes: Iterable[ast.stmt]) -> None:
        with ExitStack() as stack:
            for node in nodes:
                self.forget(node)
                method = getattr(self, f"s_{type(node).__name__}", None)
                if method is None:
                    self.emit(
                        "bad", node.lineno, f"has a statement that is not understood ({type(node).__name__})"
                    )
                    continue
                method(node)
                if isinstance(node, ast.If) and (claims := self.remaining(node)):
                    stack.enter_context(self.within(claims, node.lineno))

    def s_Pass(self, _node: ast.stmt) -> None:
        pass

    s_Break = s_Continue = s_Global = s_Nonlocal = s_Pass

    def s_Expr(self, node: ast.Expr) -> None:
        self.expression(node.value)

    def s_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.emit("return", node.lineno, self.expression(node.value))
        elif not self.generator:
            self.emit("return", node.lineno, self.none())

    def s_Assign(self, node: ast.Assign) -> None:
        if (
            len(node.targets) == 1
            and isinstance(node.targets[0], ast.Tuple | ast.List)
            and isinstance(node.value, ast.Tuple | ast.List)
            and len(node.targets[0].elts) == len(node.value.elts)
            and not any(isinstance(part, ast.Starred) for part in (*node.targets[0].elts, *node.value.elts))
        ):  # a, b = x, y: pair by pair, so that they do not run together
            values = [self.expression(value) for value in node.value.elts]
            for target, value in zip(node.targets[0].elts, values, strict=True):
                self.assign(target, value)
            return
        value = self.expression(node.value)
        for target in node.targets:
            self.assign(target, value)

    def s_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, self.expression(node.value))

    def s_AugAssign(self, node: ast.AugAssign) -> None:
        name = OPERATORS[type(node.op)]
        line = node.lineno
        target = node.target
        result = self.register()
        if isinstance(target, ast.Name):
            left = self.load(target.id, line)
            self.emit("iop", line, result, name, left, self.expression(node.value))
            self.store(target.id, result, line)
        elif isinstance(target, ast.Attribute):
            holder = self.expression(target.value)
            left = self.register()
            attribute = self.mangle(target.attr)
            self.emit("attr", line, left, holder, attribute)
            self.emit("iop", line, result, name, left, self.expression(node.value))
            self.emit("setattr", line, holder, attribute, result)
        else:
            holder = self.expression(target.value)
            index = self.expression(target.slice)
            left = self.register()
            self.emit("item", line, left, holder, index)
            self.emit("iop", line, result, name, left, self.expression(node.value))
            self.emit("setitem", line, holder, index, result)

    def assign(self, target: ast.expr, value: int) -> None:
        """Store a register into any kind of target."""
        line = target.lineno
        if isinstance(target, ast.Name):
            self.store(target.id, value, line)
        elif isinstance(target, ast.Tuple | ast.List):
            element = self.register()
            self.emit("iter", line, element, value)
            for part in target.elts:
                if isinstance(part, ast.Starred):
                    rest = self.register()
                    self.emit("new", line, rest, "list", [element])
                    self.assign(part.value, rest)
                else:
                    self.assign(part, element)
        elif isinstance(target, ast.Attribute):
            self.emit("setattr", line, self.expression(target.value), self.mangle(target.attr), value)
        elif isinstance(target, ast.Subscript):
            holder = self.expression(target.value)
            self.emit("setitem", line, holder, self.expression(target.slice), value)
        else:
            self.emit("bad", line, "assigns to something that is not understood")

    def s_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self.delete(target)

    def delete(self, target: ast.expr) -> None:
        line = target.lineno
        if isinstance(target, ast.Name):
            if self.resolve(self.mangle(target.id))[0] == "name":
                self.emit("bad", line, f"deletes module global {target.id!r}")
        elif isinstance(target, ast.Attribute):
            self.emit("delattr", line, self.expression(target.value), self.mangle(target.attr))
        elif isinstance(target, ast.Subscript):
            holder = self.expression(target.value)
            self.emit("delitem", line, holder, self.expression(target.slice))
        elif isinstance(target, ast.Tuple | ast.List):
            for part in target.elts:
                self.delete(part)

    def s_If(self, node: ast.If | ast.While) -> None:
        self.truth(node.test)
        true, false = self.test(node.test)
        with self.within(true, node.lineno, node.test):
            self.statements(node.body)
        with self.within(false, node.lineno, node.test):
            self.statements(node.orelse)

    s_While = s_If

    def s_For(self, node: ast.For | ast.AsyncFor) -> None:
        element = self.next_of(self.expression(node.iter), node.lineno, isinstance(node, ast.AsyncFor))
        self.assign(node.target, element)
        self.statements(node.body)
        self.statements(node.orelse)

    s_AsyncFor = s_For

    def s_Assert(self, node: ast.Assert) -> None:
        self.truth(node.test)
        if node.msg is not None:
            self.expression(node.msg)

    def s_Raise(self, node: ast.Raise) -> None:
        if node.exc is None:
            if not self.handlers:
                self.emit("bad", node.lineno, "re-raises its caller's exception")
            return
        self.emit("raise", node.lineno, self.expression(node.exc))
        if node.cause is not None:
            self.emit("raise", node.lineno, self.expression(node.cause))

    def s_Try(self, node: ast.Try) -> None:
        self.statements(node.body)
        for handler in node.handlers:
            if handler.type is not None:
                self.expression(handler.type)
            if handler.name:
                caught = self.register()
                self.emit("caught", handler.lineno, caught)
                self.store(handler.name, caught, handler.lineno)
            self.handlers += 1
            self.statements(handler.body)
            self.handlers -= 1
        self.statements(node.orelse)
        self.statements(node.finalbody)

    s_TryStar = s_Try

    def s_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            line = item.context_expr.lineno
            manager = self.expression(item.context_expr)
            if isinstance(node, ast.AsyncWith):
                entered = self.awaited(self.call_method(manager, "__aenter__", [], line), line)
                self.awaited(self.call_method(manager, "__aexit__", self.failure(line), line), line)
            else:
                entered = self.call_method(manager, "__enter__", [], line)
                self.call_method(manager, "__exit__", self.failure(line), line)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, entered)
        self.statements(node.body)

    s_AsyncWith = s_With

    def failure(self, line: int) -> list[int]:
        """What ``__exit__`` is given: class, exception and traceback, or None."""
        register = self.register()
        self.emit("failure", line, register)
        return [register] * 3

    def s_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        decorators = [self.expression(decorator) for decorator in node.decorator_list]
        function = self.nested(node)
        for decorator in reversed(decorators):
            decorated = self.register()
            self.emit("call", node.lineno, decorated, decorator, [function], [])
            function = decorated
        self.store(node.name, function, node.lineno)

    s_AsyncFunctionDef = s_FunctionDef

    def s_ClassDef(self, node: ast.ClassDef) -> None:
        self.emit("bad", node.lineno, f"defines class {node.name!r} when it is called")
        self.methods(node, f"{self.qualname}.<locals>.{node.name}.")

    def methods(self, node: ast.ClassDef, prefix: str) -> None:
        """The methods of a class inside a function: it may exist when they are called."""
        for part in node.body:
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                Lowering(part, prefix, node.name, self.functions, self).lower()
            elif isinstance(part, ast.ClassDef):
                self.methods(part, f"{prefix}{part.name}.")

    def s_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            register = self.register()
            if alias.asname:
                self.emit("import", node.lineno, register, alias.name, None, 0)
                self.store(alias.asname, register, node.lineno)
            else:
                self.emit("import", node.lineno, self.register(), alias.name, None, 0)
                top = alias.name.partition(".")[0]
                self.emit("import", node.lineno, register, top, None, 0)
                self.store(top, register, node.lineno)

    def s_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            register = self.register()
            self.emit("import", node.lineno, register, node.module or "", alias.name, node.level)
            self.store(alias.asname or alias.name, register, node.lineno)

    def s_Match(self, node: ast.Match) -> None:
        subject = self.expression(node.subject)
        for case in node.cases:
            self.pattern(case.pattern, subject)
            if case.guard is not None:
                self.truth(case.guard)
            self.statements(case.body)

    def pattern(self, node: ast.pattern, subject: int) -> None:
        line = node.lineno
        if isinstance(node, ast.MatchValue):
            self.emit("compare", line, self.register(), "eq", subject, self.expression(node.value))
        elif isinstance(node, ast.MatchAs):
            if node.pattern is not None:
                self.pattern(node.pattern, subject)
            if node.name:
                self.store(node.name, subject, line)
        elif isinstance(node, ast.MatchOr):
            for part in node.patterns:
                self.pattern(part, subject)
        elif isinstance(node, ast.MatchSequence):
            element = self.register()
            self.emit("iter", line, element, subject)
            for part in node.patterns:
                if isinstance(part, ast.MatchStar):
                    rest = self.register()
                    self.emit("new", line, rest, "list", [element])
                    if part.name:
                        self.store(part.name, rest, line)
                else:
                    self.pattern(part, element)
        elif isinstance(node, ast.MatchMapping):
            element = self.register()
            for key in node.keys:
                self.emit("item", line, element, subject, self.expression(key))
            for part in node.patterns:
                self.pattern(part, element)
            if node.rest:
                self.emit("item", line, element, subject, 0)
                rest = self.register()
                self.emit("new", line, rest, "dict", [element, element])
                self.store(node.rest, rest, line)
        elif isinstance(node, ast.MatchClass):
            self.expression(node.cls)
            plain = isinstance(node.cls, ast.Name) and node.cls.id in {
                "int",
                "str",
                "float",
                "bool",
                "list",
                "tuple",
            }
            if node.patterns and not plain:
                self.emit("bad", line, "matches a class by position")
            for part in node.patterns:
                self.pattern(part, subject)
            for name, part in zip(node.kwd_attrs, node.kwd_patterns, strict=True):
                attribute = self.register()
                self.emit("attr", line, attribute, subject, self.mangle(name))
                self.pattern(part, attribute)
