"""From a syntax tree to the operations that `bundlebee.bundles.facts` describes.

Comprehensions and generator expressions are folded into the function they are in, with variables of their own.
Nested functions and lambdas are lowered beside it. Code at the level of modules and classes is searched for
functions only: what it does, it did at import.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from bundlebee.bundles.facts import COROUTINE, GENERATOR, PLAIN, FunctionFacts

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.MatMult: "matmul",
    ast.Div: "truediv",
    ast.Mod: "mod",
    ast.Pow: "pow",
    ast.LShift: "lshift",
    ast.RShift: "rshift",
    ast.BitOr: "or",
    ast.BitXor: "xor",
    ast.BitAnd: "and",
    ast.FloorDiv: "floordiv",
}
_UNARY: dict[type[ast.unaryop], str] = {ast.UAdd: "pos", ast.USub: "neg", ast.Invert: "invert"}
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
}

#: Functions that take an attribute's name as text: their constants are kept.
_NAMING = {"getattr", "setattr", "hasattr", "delattr"}


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
            _Function(node, prefix, owner, functions, None).lower()
        else:
            _search(ast.iter_child_nodes(node), prefix, owner, functions)


def _mangle(name: str, owner: str | None) -> str:
    """``__x`` in class ``C`` is ``_C__x``."""
    if owner is None or not name.startswith("__") or name.endswith("__") or "." in name:
        return name
    owner = owner.lstrip("_")
    return f"_{owner}{name}" if owner else name


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


class _Function:
    """Lowers one function."""

    def __init__(
        self,
        node: FunctionNode,
        prefix: str,
        owner: str | None,
        functions: list[FunctionFacts | None],
        parent: _Function | None,
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
        return _mangle(name, self.owner)

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
        self._declare()
        if isinstance(node, ast.Lambda):
            self.emit("return", node.body.lineno, self.expression(node.body))
        else:
            self.statements(node.body)
        kind = PLAIN
        if isinstance(node, ast.AsyncFunctionDef):
            kind = COROUTINE
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

    def _declare(self) -> None:
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

    def _resolve(self, name: str) -> tuple[str, int | str]:
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
        kind, where = self._resolve(name)
        if kind == "local":
            known = self.exposed.setdefault(name, int(where))
            if known != where:  # two variables of one name, one of them a comprehension's: taken as one
                self.emit("copy", self.line, known, where)
                self.emit("copy", self.line, where, known)
        return kind != "name"

    def load(self, name: str, line: int) -> int:
        name = self.mangle(name)
        kind, where = self._resolve(name)
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
        kind, where = self._resolve(name)
        if kind == "local":
            self.emit("copy", line, where, source)
        elif kind == "free":
            self.emit("setfree", line, where, source)
        else:
            self.emit("bad", line, f"writes module global {name!r}")

    # -- statements --------------------------------------------------------------------------------------

    def statements(self, nodes: Iterable[ast.stmt]) -> None:
        for node in nodes:
            method = getattr(self, f"s_{type(node).__name__}", None)
            if method is None:
                self.emit(
                    "bad", node.lineno, f"has a statement that is not understood ({type(node).__name__})"
                )
            else:
                method(node)

    def s_Pass(self, _node: ast.stmt) -> None:
        pass

    s_Break = s_Continue = s_Global = s_Nonlocal = s_Pass

    def s_Expr(self, node: ast.Expr) -> None:
        self.expression(node.value)

    def s_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.emit("return", node.lineno, self.expression(node.value))

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
        name = _OPERATORS[type(node.op)]
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
            if self._resolve(self.mangle(target.id))[0] == "name":
                self.emit("bad", line, f"deletes module global {target.id!r}")
        elif isinstance(target, ast.Attribute):
            self.emit("delattr", line, self.expression(target.value), self.mangle(target.attr))
        elif isinstance(target, ast.Subscript):
            holder = self.expression(target.value)
            self.emit("delitem", line, holder, self.expression(target.slice))
        elif isinstance(target, ast.Tuple | ast.List):
            for part in target.elts:
                self.delete(part)

    def s_If(self, node: ast.If) -> None:
        self.truth(node.test)
        self.statements(node.body)
        self.statements(node.orelse)

    s_While = s_If

    def s_For(self, node: ast.For | ast.AsyncFor) -> None:
        element = self.register()
        self.emit("iter", node.lineno, element, self.expression(node.iter))
        self.assign(node.target, element)
        self.statements(node.body)
        self.statements(node.orelse)

    def s_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.emit("bad", node.lineno, "waits for an asynchronous iteration")
        self.s_For(node)

    def s_AsyncWith(self, node: ast.AsyncWith) -> None:
        self.emit("bad", node.lineno, "waits for an asynchronous context")
        self.s_With(node)

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
            entered = self.call_method(manager, "__enter__", [], line)
            self.call_method(manager, "__exit__", [0, 0, 0], line)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, entered)
        self.statements(node.body)

    def call_method(self, holder: int, name: str, arguments: list[int], line: int) -> int:
        method = self.register()
        self.emit("attr", line, method, holder, name)
        result = self.register()
        self.emit("call", line, result, method, arguments, [])
        return result

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

    # -- expressions -------------------------------------------------------------------------------------

    def truth(self, node: ast.expr) -> None:
        register = self.expression(node)
        if register not in (0, self.numbers):
            self.emit("truth", node.lineno, register)

    def expression(self, node: ast.expr) -> int:
        """Lower it; returns the register of its value."""
        method = getattr(self, f"e_{type(node).__name__}", None)
        if method is None:
            self.emit("bad", node.lineno, f"has an expression that is not understood ({type(node).__name__})")
            return 0
        register: int = method(node)
        return register

    def e_Constant(self, node: ast.Constant) -> int:
        return self.number() if isinstance(node.value, int | float | complex) else 0

    def number(self) -> int:
        """The register of every number that is written down in this function."""
        if not self.numbers:
            self.numbers = self.register()
            self.emit("number", self.line, self.numbers)
        return self.numbers

    def e_Name(self, node: ast.Name) -> int:
        return self.load(node.id, node.lineno)

    def e_NamedExpr(self, node: ast.NamedExpr) -> int:
        value = self.expression(node.value)
        self.store(node.target.id, value, node.lineno)
        return value

    def e_Attribute(self, node: ast.Attribute) -> int:
        holder = self.expression(node.value)
        register = self.register()
        self.emit("attr", node.lineno, register, holder, self.mangle(node.attr))
        return register

    def e_Subscript(self, node: ast.Subscript) -> int:
        holder = self.expression(node.value)
        register = self.register()
        if isinstance(node.slice, ast.Slice):
            self.e_Slice(node.slice)
            self.emit("slice", node.lineno, register, holder)
        else:
            self.emit("item", node.lineno, register, holder, self.expression(node.slice))
        return register

    def e_Slice(self, node: ast.Slice) -> int:
        bounds = [self.expression(part) for part in (node.lower, node.upper, node.step) if part is not None]
        register = self.register()
        self.emit("new", node.lineno, register, "slice", bounds)
        return register

    def e_BinOp(self, node: ast.BinOp) -> int:
        left = self.expression(node.left)
        right = self.expression(node.right)
        if left == right and left in (0, self.numbers):
            return left
        register = self.register()
        self.emit("op", node.lineno, register, _OPERATORS[type(node.op)], left, right)
        return register

    def e_UnaryOp(self, node: ast.UnaryOp) -> int:
        operand = self.expression(node.operand)
        if operand in (0, self.numbers) and not isinstance(node.op, ast.Not):
            return operand
        if isinstance(node.op, ast.Not):
            self.emit("truth", node.lineno, operand)
            return self.number()
        register = self.register()
        self.emit("unary", node.lineno, register, _UNARY[type(node.op)], operand)
        return register

    def e_BoolOp(self, node: ast.BoolOp) -> int:
        register = self.register()
        for value in node.values:
            part = self.expression(value)
            self.emit("truth", node.lineno, part)
            self.emit("copy", node.lineno, register, part)
        return register

    def e_IfExp(self, node: ast.IfExp) -> int:
        self.truth(node.test)
        register = self.register()
        self.emit("copy", node.lineno, register, self.expression(node.body))
        self.emit("copy", node.lineno, register, self.expression(node.orelse))
        return register

    def e_Compare(self, node: ast.Compare) -> int:
        result = 0
        left_node = node.left
        left = self.expression(left_node)
        for operator, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.expression(right_node)
            if isinstance(operator, ast.Is | ast.IsNot):
                if not (_is_singleton(left_node) or _is_singleton(right_node)):
                    self.emit("is", node.lineno, left, right)
            elif isinstance(operator, ast.In | ast.NotIn):
                self.emit("in", node.lineno, left, right)
            elif left not in (0, self.numbers) or right not in (0, self.numbers):
                result = result or self.register()
                self.emit("compare", node.lineno, result, _COMPARE[type(operator)], left, right)
            left, left_node = right, right_node
        if not result:
            return self.number()
        self.emit("copy", node.lineno, result, self.number())
        return result

    def e_Call(self, node: ast.Call) -> int:
        line = node.lineno
        called = node.func
        bare = isinstance(called, ast.Name) and not node.args and not node.keywords
        if bare and called.id == "super" and self._resolve("super")[0] == "name":  # type: ignore[attr-defined]
            register = self.register()
            self.emit("super", line, register)
            return register
        function = self.expression(called)
        naming = isinstance(called, ast.Name) and called.id in _NAMING
        arguments: list[int] = []
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                arguments.append(-1 - self.expression(argument.value))
            elif naming and isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                register = self.register()
                # Not mangled: the text is taken as it is.
                self.emit("const", line, register, argument.value)
                arguments.append(register)
            else:
                arguments.append(self.expression(argument))
        named = [[keyword.arg, self.expression(keyword.value)] for keyword in node.keywords]
        register = self.register()
        self.emit("call", line, register, function, arguments, named)
        return register

    def e_JoinedStr(self, node: ast.JoinedStr) -> int:
        for value in node.values:
            if isinstance(value, ast.FormattedValue):
                self.e_FormattedValue(value)
            elif not isinstance(value, ast.Constant):
                self.expression(value)
        return 0

    def e_FormattedValue(self, node: ast.FormattedValue) -> int:
        register = self.expression(node.value)
        if register:
            self.emit("text", node.lineno, register)
        if node.format_spec is not None:
            self.expression(node.format_spec)
        return 0

    def _display(self, kind: str, nodes: Sequence[ast.expr | None], line: int) -> int:
        parts: list[int] = []
        for node in nodes:
            if node is None:
                continue
            if isinstance(node, ast.Starred):
                element = self.register()
                self.emit("iter", line, element, self.expression(node.value))
                parts.append(element)
            else:
                parts.append(self.expression(node))
        register = self.register()
        self.emit("new", line, register, kind, parts)
        return register

    def e_List(self, node: ast.List) -> int:
        return self._display("list", node.elts, node.lineno)

    def e_Set(self, node: ast.Set) -> int:
        return self._display("set", node.elts, node.lineno)

    def e_Tuple(self, node: ast.Tuple) -> int:
        if all(isinstance(part, ast.Constant) for part in node.elts):
            return 0
        return self._display("tuple", node.elts, node.lineno)

    def e_Dict(self, node: ast.Dict) -> int:
        parts: list[int] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                inner = self.register()
                mapping = self.expression(value)
                self.emit("item", value.lineno, inner, mapping, 0)
                keys = self.register()
                self.emit("iter", value.lineno, keys, mapping)
                parts += [keys, inner]
            else:
                parts += [self.expression(key), self.expression(value)]
        register = self.register()
        self.emit("new", node.lineno, register, "dict", parts)
        return register

    def _comprehension(
        self, kind: str, elements: list[ast.expr], generators: list[ast.comprehension], line: int
    ) -> int:
        scope: dict[str, int] = {}
        for number, generator in enumerate(generators):
            if generator.is_async:
                self.emit("bad", line, "waits for an asynchronous iteration")
            # The first iterable belongs to the enclosing scope.
            if number == 1:
                self.inner.append(scope)
            source = self.expression(generator.iter)
            if number == 0:
                for part in generators:
                    for name in ast.walk(part.target):
                        if isinstance(name, ast.Name):
                            scope.setdefault(self.mangle(name.id), self.register())
                self.inner.append(scope)
            element = self.register()
            self.emit("iter", generator.iter.lineno, element, source)
            self.assign(generator.target, element)
            for condition in generator.ifs:
                self.truth(condition)
            if number == 0 and len(generators) > 1:
                self.inner.pop()
        parts = [self.expression(element) for element in elements]
        self.inner.pop()
        register = self.register()
        self.emit("new", line, register, kind, parts)
        return register

    def e_ListComp(self, node: ast.ListComp) -> int:
        return self._comprehension("list", [node.elt], node.generators, node.lineno)

    def e_SetComp(self, node: ast.SetComp) -> int:
        return self._comprehension("set", [node.elt], node.generators, node.lineno)

    def e_GeneratorExp(self, node: ast.GeneratorExp) -> int:
        return self._comprehension("iterator", [node.elt], node.generators, node.lineno)

    def e_DictComp(self, node: ast.DictComp) -> int:
        return self._comprehension("dict", [node.key, node.value], node.generators, node.lineno)

    def e_Lambda(self, node: ast.Lambda) -> int:
        return self.nested(node)

    def nested(self, node: FunctionNode) -> int:
        """A function or lambda inside this one."""
        line = node.lineno
        arguments = node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults: list[list[Any]] = []
        for argument, default in zip(
            positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True
        ):
            defaults.append([self.mangle(argument.arg), self.expression(default)])
        for argument, keyword_default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            if keyword_default is not None:
                defaults.append([self.mangle(argument.arg), self.expression(keyword_default)])
        child = _Function(node, f"{self.qualname}.<locals>.", self.owner, self.functions, self)
        position = child.lower()
        register = self.register()
        self.emit("function", line, register, position, defaults)
        return register

    def e_Yield(self, node: ast.Yield) -> int:
        self.generator = True
        if node.value is not None:
            self.emit("yield", node.lineno, self.expression(node.value))
        return 0

    def e_YieldFrom(self, node: ast.YieldFrom) -> int:
        self.generator = True
        element = self.register()
        self.emit("iter", node.lineno, element, self.expression(node.value))
        self.emit("yield", node.lineno, element)
        return element

    def e_Await(self, node: ast.Await) -> int:
        self.emit("bad", node.lineno, "awaits")
        return self.expression(node.value)

    def e_Starred(self, node: ast.Starred) -> int:
        element = self.register()
        self.emit("iter", node.lineno, element, self.expression(node.value))
        return element


def _is_singleton(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and (
        node.value is None or node.value is ... or isinstance(node.value, bool)
    )
