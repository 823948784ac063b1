"""Who binds a name in a module: enough to know that ``sum`` is the builtin and ``math`` is the module."""

from __future__ import annotations

import ast
import builtins
import sys
from functools import cached_property

_BOUND = "<bound here>"


class Names:
    """The names that a module binds in any scope, and where imported ones come from.

    One set for the whole module is stricter than Python's scopes are, and cannot be wrong. Names that only a
    class body binds are left out: functions do not see them.
    """

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree

    def is_builtin(self, name: str) -> bool:
        """Whether a name can only mean the builtin."""
        return hasattr(builtins, name) and name not in self._origins and "*" not in self._origins

    def origin(self, name: str) -> str | None:
        """What an imported name stands for (``math``, ``math.sqrt``), if it is nothing but that import."""
        origins = self._origins.get(name, set())
        return next(iter(origins)) if len(origins) == 1 and _BOUND not in origins else None

    def is_standard(self, name: str) -> bool:
        """Whether a name is a builtin, or comes from the standard library."""
        origin = self.origin(name)
        if origin is None:
            return self.is_builtin(name)
        return origin.partition(".")[0] in sys.stdlib_module_names

    @cached_property
    def _origins(self) -> dict[str, set[str]]:  # most modules have no site that would ask
        origins: dict[str, set[str]] = {}

        def bind(name: str | None, origin: str = _BOUND) -> None:
            if name is not None:
                origins.setdefault(name, set()).add(origin)

        todo: list[tuple[ast.AST, bool]] = [(self._tree, False)]
        while todo:
            node, in_class = todo.pop()
            match node:
                case ast.Import(names=aliases):
                    for alias in aliases:
                        top = alias.name.partition(".")[0]
                        bind(alias.asname or top, alias.name if alias.asname else top)
                    continue
                case ast.ImportFrom(module=module, names=aliases, level=level):
                    for alias in aliases:
                        bind(alias.asname or alias.name, f"{'.' * level}{module or ''}.{alias.name}")
                    continue
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    if not in_class:
                        bind(node.name)
                    inside = isinstance(node, ast.ClassDef)
                    body = set(map(id, node.body))
                    todo.extend((child, inside and id(child) in body) for child in ast.iter_child_nodes(node))
                    continue
                case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                    if not in_class:
                        bind(name)
                    continue
                case ast.Name() | ast.Constant():
                    continue
                case ast.arg(arg=name):
                    bind(name)
                case ast.ExceptHandler(name=bound) | ast.MatchAs(name=bound) | ast.MatchStar(name=bound):
                    bind(bound)
                case ast.MatchMapping(rest=bound):
                    bind(bound)
                case ast.Global(names=declared) | ast.Nonlocal(names=declared):
                    for name in declared:
                        bind(name)
                case _:
                    # type parameters, where this Python has them
                    if node.__class__.__name__ in ("TypeVar", "ParamSpec", "TypeVarTuple"):
                        bind(getattr(node, "name", None))
            scoped = isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp))
            todo.extend((child, in_class and not scoped) for child in ast.iter_child_nodes(node))
        return origins
