"""A program's main module, without the program: what a worker loads to run the functions of a script.

The script itself runs at the caller only. A worker needs its imports, functions, classes and constants, and must
not run anything else: an unguarded script would start again in every worker. So every other statement at the top
level is dropped. A definition that fails, because it needs what was dropped, is passed over. A global that is
missing for either reason shows up in the state's fingerprint, and the call stays at the caller.
"""

from __future__ import annotations

import ast
from types import CodeType

_DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_HARMLESS_CALLS = {
    "abs", "bool", "bytes", "chr", "complex", "dict", "divmod", "enumerate", "filter", "float", "frozenset", "hash", "hex",
    "int", "len", "list", "map", "max", "min", "oct", "ord", "pow", "range", "repr", "reversed", "round", "set", "slice",
    "sorted", "str", "sum", "tuple", "zip", "object", "property",
}  # fmt: skip
_HARMLESS_MODULES = {
    "math", "cmath", "re", "enum", "fractions", "collections", "dataclasses", "typing", "string", "operator",
    "functools", "itertools", "datetime",
}  # fmt: skip
_HARMLESS_NAMES = {
    "namedtuple", "Counter", "OrderedDict", "defaultdict", "deque", "Fraction", "TypeVar", "NewType", "ParamSpec",
    "NamedTuple", "Enum", "IntEnum", "itemgetter", "attrgetter", "partial", "chain", "product", "permutations",
    "combinations", "timedelta", "date", "field", "sqrt", "lru_cache", "cache",
}  # fmt: skip


def definitions_only(source: bytes, path: str) -> CodeType:
    """Compile a main module down to its definitions; lines and columns stay those of the source.

    Args:
        source: the file as it is, with its encoding cookie if it has one.
        path: its name, for tracebacks.

    Raises:
        SyntaxError: as compiling the whole would.
    """
    tree = ast.parse(source, path)
    tree.body = [_guarded(node) for node in _keep(tree.body, first=True)]
    return compile(tree, path, "exec", dont_inherit=True)


def _guarded(node: ast.stmt) -> ast.stmt:
    """The statement in a ``try`` that passes over what fails."""
    if isinstance(node, ast.Expr) or (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
        return node
    handler = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [ast.Pass()])
    guarded = ast.Try([node], [handler], [], [])
    for part in (guarded, *ast.walk(handler)):
        ast.copy_location(part, node)
    return guarded


def _keep(body: list[ast.stmt], *, first: bool = False) -> list[ast.stmt]:
    kept: list[ast.stmt] = []
    for number, node in enumerate(body):
        if isinstance(node, _DEFINITIONS) or type(node).__name__ == "TypeAlias":
            kept.append(node)
        elif isinstance(node, ast.Assign):
            if _harmless(node.value) and all(map(_is_name, node.targets)):
                kept.append(node)
        elif isinstance(node, ast.AnnAssign):
            if isinstance(node.target, ast.Name) and (node.value is None or _harmless(node.value)):
                kept.append(node)
        elif isinstance(node, ast.Expr):
            if first and number == 0 and isinstance(node.value, ast.Constant):
                kept.append(node)  # the docstring
        elif isinstance(node, ast.If):
            if not _mentions_main(node.test) and _harmless(node.test):
                node.body = _keep(node.body) or [_pass(node)]
                node.orelse = _keep(node.orelse)
                kept.append(node)
        elif isinstance(node, ast.Try):
            node.body = _keep(node.body) or [_pass(node)]
            for handler in node.handlers:
                handler.body = _keep(handler.body) or [_pass(handler)]
            node.orelse = _keep(node.orelse)
            node.finalbody = _keep(node.finalbody)
            if node.handlers or node.finalbody:
                kept.append(node)
            else:
                kept.extend(node.body)
    return kept


def _pass(near: ast.AST) -> ast.stmt:
    return ast.copy_location(ast.Pass(), near)


def _is_name(target: ast.expr) -> bool:
    if isinstance(target, ast.Tuple | ast.List):
        return all(map(_is_name, target.elts))
    return isinstance(target, ast.Name)


def _mentions_main(test: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test))


def _harmless(node: ast.expr) -> bool:
    """Whether evaluating it can do nothing but make a value."""
    for part in ast.walk(node):
        if isinstance(part, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr):
            return False
        if isinstance(part, ast.Call) and not _harmless_call(part.func):
            return False
    return True


def _harmless_call(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in _HARMLESS_CALLS or function.id in _HARMLESS_NAMES
    if isinstance(function, ast.Attribute):
        owner = function.value
        if isinstance(owner, ast.Name) and (owner.id in _HARMLESS_MODULES or function.attr == "getLogger"):
            return True
        # Methods of texts and displays that are written down right there: "a b c".split()
        return isinstance(owner, ast.Constant | ast.List | ast.Dict | ast.Set | ast.JoinedStr)
    return False
