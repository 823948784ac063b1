"""Expressions, lowered: each leaves its value in a register."""

from __future__ import annotations

import ast
import string
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from bundlebee.bundles.branches import Branches
from bundlebee.bundles.scopes import FunctionNode, takes_a_name

OPERATORS: dict[type[ast.operator], str] = {
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


class Expressions(Branches):
    """One method for each kind of expression; each returns the register of the value."""

    def assign(self, target: ast.expr, value: int) -> None:
        """Store a register into any kind of target. (Given by `bundlebee.bundles.lowering.Lowering`.)"""
        raise NotImplementedError

    def lower_inner(self, node: FunctionNode) -> int:
        """Lower a nested function; returns its number. (Given by `bundlebee.bundles.lowering.Lowering`.)"""
        raise NotImplementedError

    def truth(self, node: ast.expr) -> None:
        register = self.expression(node)
        if register not in (0, self.numbers, self.nothing):
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
        if node.value is None:
            return self.none()
        if self.names_by_text and isinstance(node.value, str) and node.value.isidentifier():
            register = self.register()
            self.emit("const", node.lineno, register, node.value)
            return register
        return self.number() if isinstance(node.value, int | float | complex) else 0

    def none(self) -> int:
        """The register of None."""
        if not self.nothing:
            self.nothing = self.register()
        return self.nothing

    def number(self) -> int:
        """The register of every number that is written down in this function."""
        if not self.numbers:
            self.numbers = self.register()
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
        self.emit("op", node.lineno, register, OPERATORS[type(node.op)], left, right)
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
        same = _identity_or_equality(node)
        both = isinstance(node.op, ast.And)
        with ExitStack() as stack:
            for value in node.values:
                if value is same:  # what is identical is equal, so it is enough to ask for that
                    continue
                part = self.expression(value)
                self.emit("truth", node.lineno, part)
                self.emit("copy", node.lineno, register, part)
                true, false = self.test(value)
                stack.enter_context(self.within(true if both else false, node.lineno, node))
        return register

    def e_IfExp(self, node: ast.IfExp) -> int:
        self.truth(node.test)
        register = self.register()
        true, false = self.test(node.test)
        with self.within(true, node.lineno, node):
            self.emit("copy", node.lineno, register, self.expression(node.body))
        with self.within(false, node.lineno, node):
            self.emit("copy", node.lineno, register, self.expression(node.orelse))
        return register

    def e_Compare(self, node: ast.Compare) -> int:
        result = 0
        left_node = node.left
        left = self.expression(left_node)
        for operator, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.expression(right_node)
            if isinstance(operator, ast.Is | ast.IsNot):
                self.tested[id(node)] = left, (right,)
                if not (self.singleton(left_node) or self.singleton(right_node)):
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

    def singleton(self, node: ast.expr) -> bool:
        """Whether its value is one object in every process. (`Operations.o_name` sees to it that the name means that.)"""
        if isinstance(node, ast.Name) and node.id == "NotImplemented":
            return bool(self.resolve(node.id)[0] == "name")
        return _is_singleton(node)

    def e_Call(self, node: ast.Call) -> int:
        line = node.lineno
        called = node.func
        bare = isinstance(called, ast.Name) and not node.args and not node.keywords
        if bare and called.id == "super" and self.resolve("super")[0] == "name":  # type: ignore[attr-defined]
            register = self.register()
            self.emit("super", line, register)
            return register
        if isinstance(called, ast.Attribute) and called.attr == "format" and _only_formats(called.value):
            return self.formatted(node)
        function = self.expression(called)
        naming = takes_a_name(node)
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
        if (
            isinstance(called, ast.Name)
            and called.id == "isinstance"
            and len(arguments) == 2
            and min(arguments) >= 0
            and not named
        ):
            parts = self.displayed.get(id(node.args[1]), (arguments[1],))
            self.tested[id(node)] = function, parts
        return register

    def formatted(self, node: ast.Call) -> int:
        """``"… {} …".format(x)`` with a text that looks at no attributes of what it is given."""
        self.emit("attr", node.lineno, self.register(), 0, "format")
        for value in (*node.args, *(keyword.value for keyword in node.keywords)):
            register = self.expression(value)
            if register:
                self.emit("text", node.lineno, register)
        for keyword in node.keywords:
            if keyword.arg is None:
                self.emit("mapping", node.lineno, self.expression(keyword.value))
        return 0

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
        if all(isinstance(part, ast.Constant) for part in node.elts) and not self.names_by_text:
            return 0
        register = self._display("tuple", node.elts, node.lineno)
        if not any(isinstance(part, ast.Starred) for part in node.elts):
            self.displayed[id(node)] = tuple(self.operations[-1][4])
        return register

    def e_Dict(self, node: ast.Dict) -> int:
        parts: list[int] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                inner = self.register()
                mapping = self.expression(value)
                self.emit("item", value.lineno, inner, mapping, 0)
                keys = self.register()
                self.emit("iter", value.lineno, keys, mapping)
                self.emit("mapping", value.lineno, mapping)
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
            element = self.next_of(source, generator.iter.lineno, bool(generator.is_async))
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
        first = node.generators[0].iter  # belongs to the enclosing scope
        outside = set(map(id, ast.walk(first)))
        if any(generator.is_async for generator in node.generators) or any(
            isinstance(part, ast.Await) and id(part) not in outside for part in ast.walk(node)
        ):
            self.emit("bad", node.lineno, "makes an asynchronous generator")
        narrowed, self.narrowed = self.narrowed, {}  # it runs later
        register = self._comprehension("iterator", [node.elt], node.generators, node.lineno)
        self.narrowed = narrowed
        return register

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
        position = self.lower_inner(node)
        register = self.register()
        self.emit("function", line, register, position, defaults)
        return register

    def e_Yield(self, node: ast.Yield) -> int:
        self.generator = True
        self.emit("yield", node.lineno, self.none() if node.value is None else self.expression(node.value))
        return 0

    def e_YieldFrom(self, node: ast.YieldFrom) -> int:
        self.generator = True
        element = self.register()
        self.emit("iter", node.lineno, element, self.expression(node.value))
        self.emit("yield", node.lineno, element)
        result = self.register()  # what the generator returns, if anything
        self.emit("copy", node.lineno, result, element)
        self.emit("copy", node.lineno, result, 0)
        return result

    def e_Await(self, node: ast.Await) -> int:
        return self.awaited(self.expression(node.value), node.lineno)

    def awaited(self, value: int, line: int) -> int:
        """What awaiting gives."""
        result = self.register()
        self.emit("await", line, result, value)
        return result

    def next_of(self, source: int, line: int, asynchronous: bool) -> int:
        """One of what a loop over something gives."""
        if asynchronous:
            iterator = self.call_method(source, "__aiter__", [], line)
            return self.awaited(self.call_method(iterator, "__anext__", [], line), line)
        element = self.register()
        self.emit("iter", line, element, source)
        return element

    def call_method(self, holder: int, name: str, arguments: list[int], line: int) -> int:
        method = self.register()
        self.emit("attr", line, method, holder, name)
        result = self.register()
        self.emit("call", line, result, method, arguments, [])
        return result

    def e_Starred(self, node: ast.Starred) -> int:
        element = self.register()
        self.emit("iter", node.lineno, element, self.expression(node.value))
        return element


def _identity_or_equality(node: ast.BoolOp) -> ast.expr | None:
    """The first part of ``a is b or a == b``, and of ``a is not b and a != b``. That differs from the second only where something is
    not equal to itself: objects keep their identity in copies, and nan is refused."""
    first, second = node.values[:2]
    pair = (ast.Is, ast.Eq) if isinstance(node.op, ast.Or) else (ast.IsNot, ast.NotEq)
    for part, kind in zip((first, second), pair, strict=True):
        if not isinstance(part, ast.Compare) or len(part.ops) != 1 or not isinstance(part.ops[0], kind):
            return None
        if not isinstance(part.left, ast.Name) or not isinstance(part.comparators[0], ast.Name):
            return None
    assert isinstance(first, ast.Compare) and isinstance(second, ast.Compare)
    names = [ast.dump(part.left) + ast.dump(part.comparators[0]) for part in (first, second)]
    return first if names[0] == names[1] else None


def _only_formats(node: ast.expr) -> bool:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return False
    try:
        fields = [(name or "", spec or "") for _, name, spec, _ in string.Formatter().parse(node.value)]
    except ValueError:
        return False
    return all(set(name).isdisjoint(".[") and "{" not in spec for name, spec in fields)


def _is_singleton(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and (
        node.value is None or node.value is ... or isinstance(node.value, bool)
    )
