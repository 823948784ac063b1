"""What may stand around the called function at a scatter site: expressions that cannot see the difference.

At a spread site the arguments of a call are looked at ahead of their turn, and once more in their turn;
filters run ahead of the elements. That is invisible as long as everything but the called function only reads:
names, constants, attributes, subscripts, operators, displays, and builtins that have no effect. An iterator
is the one thing among these that a look uses up; where an argument iterates over something that may be one,
the advice asks first (`Advice.again`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import libcst as cst

from bundlebee.weaving.names import Names

#: Builtins that have no effect of their own.
PURE = frozenset(
    {
        "abs",
        "all",
        "any",
        "bin",
        "bool",
        "bytes",
        "chr",
        "complex",
        "dict",
        "divmod",
        "enumerate",
        "float",
        "frozenset",
        "hex",
        "int",
        "isinstance",
        "issubclass",
        "len",
        "list",
        "max",
        "min",
        "oct",
        "ord",
        "pow",
        "range",
        "repr",
        "reversed",
        "round",
        "set",
        "slice",
        "sorted",
        "str",
        "sum",
        "tuple",
        "zip",
    }
)

#: Those of them that iterate over their arguments, and so use up an iterator.
_ITERATES = frozenset(
    {
        "all",
        "any",
        "bytes",
        "dict",
        "enumerate",
        "frozenset",
        "list",
        "max",
        "min",
        "set",
        "sorted",
        "sum",
        "tuple",
        "zip",
    }
)

#: Those whose result is new at each call, so that it may be iterated over each time.
_FRESH = _ITERATES | {"range", "reversed", "str", "repr"}


def dotted(node: cst.BaseExpression) -> str | None:
    """``a.b.c`` as text, or None if the expression is anything else."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute) and not node.lpar:
        head = dotted(node.value)
        return None if head is None else f"{head}.{node.attr.value}"
    return None


def is_harmless_call(node: cst.Call, names: Names) -> bool:
    """Whether the called function is a builtin without effects, or one of `math`."""
    target = dotted(node.func)
    if target is None:
        return False
    root, _, rest = target.partition(".")
    if not rest:
        if root in PURE and names.is_builtin(root):
            return True
        origin = names.origin(root)
        return origin is not None and origin.startswith("math.")
    return names.origin(root) == "math" and "." not in rest


def objection(node: cst.CSTNode, names: Names, *, besides: cst.Call | None = None) -> str | None:
    """Why an expression may see the difference, or None if it cannot. The call `besides` is not looked at."""
    match node:
        case cst.Call() if node is besides:
            return None
        case cst.Call():
            if not is_harmless_call(node, names):
                return f"also calls {dotted(node.func) or 'something'}"
            parts: Iterator[cst.CSTNode] = (argument.value for argument in node.args)
        case cst.Name() | cst.Integer() | cst.Float() | cst.Imaginary() | cst.SimpleString() | cst.Ellipsis():
            return None
        case cst.Lambda():
            return "holds a lambda"
        case cst.BaseComp():
            return "holds another comprehension"
        case cst.Await() | cst.Yield() | cst.NamedExpr():
            return "waits, yields or assigns inside"
        case (
            cst.Attribute()
            | cst.Subscript()
            | cst.UnaryOperation()
            | cst.BinaryOperation()
            | cst.BooleanOperation()
            | cst.Comparison()
            | cst.IfExp()
            | cst.Tuple()
            | cst.StarredElement()
            | cst.List()
            | cst.Set()
            | cst.Dict()
            | cst.ConcatenatedString()
            | cst.FormattedString()
        ):
            parts = expressions_in(node)
        case _:
            return f"holds {type(node).__name__}"
    return next(filter(None, (objection(part, names, besides=besides) for part in parts)), None)


def expressions_in(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """The nearest expressions below a node, left to right."""
    for child in node.children:
        if isinstance(child, cst.BaseExpression):
            yield child
        else:
            yield from expressions_in(child)


def once_only(arguments: Sequence[cst.Arg], names: Names) -> list[cst.BaseExpression]:
    """The operands in a call's arguments that are iterated over, and for all we know may be iterators."""
    found: list[cst.BaseExpression] = []

    def iterated(operand: cst.BaseExpression) -> None:
        if not repeats(operand, names):
            found.append(operand)

    def look(node: cst.CSTNode) -> None:
        if isinstance(node, cst.Call):
            name = dotted(node.func)
            if name in _ITERATES and not (name in ("max", "min") and len(node.args) > 1):
                for argument in node.args:
                    iterated(argument.value)
        if isinstance(node, (cst.Arg, cst.StarredElement)) and (
            isinstance(node, cst.StarredElement) or node.star == "*"
        ):
            iterated(node.value)
        if isinstance(node, cst.ComparisonTarget) and isinstance(node.operator, (cst.In, cst.NotIn)):
            iterated(node.comparator)
        for child in node.children:
            look(child)

    for argument in arguments:
        look(argument)
    return found


def repeats(node: cst.BaseExpression, names: Names) -> bool:
    """Whether an expression gives something that can be iterated over anew each time it is evaluated."""
    if isinstance(node, cst.Call):
        return dotted(node.func) in _FRESH and is_harmless_call(node, names)
    if isinstance(node, cst.Subscript):
        return any(isinstance(element.slice, cst.Slice) for element in node.slice)
    return isinstance(
        node,
        (
            cst.Tuple,
            cst.List,
            cst.Set,
            cst.Dict,
            cst.SimpleString,
            cst.ConcatenatedString,
            cst.FormattedString,
        ),
    )


def calls_in(node: cst.CSTNode, *, always: bool = True) -> Iterator[tuple[cst.Call, bool]]:
    """All calls of an expression, each with whether it is made whenever the expression is evaluated."""
    if isinstance(node, cst.Call):
        yield node, always
    match node:
        case cst.IfExp():
            yield from calls_in(node.test, always=always)
            yield from calls_in(node.body, always=False)
            yield from calls_in(node.orelse, always=False)
        case cst.BooleanOperation():
            yield from calls_in(node.left, always=always)
            yield from calls_in(node.right, always=False)
        case cst.Comparison():
            yield from calls_in(node.left, always=always)
            for i, target in enumerate(node.comparisons):
                yield from calls_in(target.comparator, always=always and i == 0)
        case cst.Lambda():
            yield from calls_in(node.body, always=False)
        case cst.BaseComp():
            for child in node.children:
                yield from calls_in(child, always=False)
        case _:
            for child in node.children:
                yield from calls_in(child, always=always)
