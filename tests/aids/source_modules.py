"""Modules made of text, with their facts; and values as text, to compare what two of them did."""

from __future__ import annotations

import ast
import sys
from textwrap import dedent
from types import ModuleType
from typing import Any

from bundlebee.bundles.effects import EffectAnalysis
from bundlebee.bundles.facts import ModuleFacts, collect, decode, encode


class SourceModules:
    """Modules made of text, and the analysis of their effects."""

    def __init__(self) -> None:
        self.facts: dict[str, ModuleFacts] = {}
        self.analysis = EffectAnalysis(self.facts.get)
        self._before = set(sys.modules)

    def load(self, source: str, name: str = "sample") -> ModuleType:
        source = dedent(source)
        self.facts[name] = decode(encode(collect(ast.parse(source), name)))
        return load(source, name, f"{name}.py")

    def forget(self) -> None:
        """Take them out of `sys.modules`."""
        for name in self.facts:
            if name not in self._before:
                sys.modules.pop(name, None)


def load(source: str, name: str, file: str = "random.py") -> ModuleType:
    """A module of that source, in the place of one of that name."""
    module = ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module
    exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)
    return module


def shown(value: Any) -> str:
    """The whole of a value, identities inside it included."""
    seen: dict[int, int] = {}
    kept: list[Any] = []

    def show(one: Any) -> str:
        if isinstance(one, int | float | str | bytes | type(None)):
            return repr(one)
        if id(one) in seen:
            return f"#{seen[id(one)]}"
        seen[id(one)] = len(seen)
        kept.append(one)  # no other object may get its id meanwhile
        kind = type(one).__name__
        if isinstance(one, dict):
            return f"{kind}{{{', '.join(f'{show(k)}: {show(v)}' for k, v in one.items())}}}"
        if isinstance(one, list | tuple | set | frozenset) or kind in ("deque", "dict_values", "dict_keys"):
            return f"{kind}({', '.join(map(show, one))})"
        if isinstance(one, type) or callable(one):
            return getattr(one, "__qualname__", kind)
        if hasattr(one, "__dict__"):
            return f"{kind}{show({k: v for k, v in vars(one).items() if k != 'lazy'})}"
        return kind

    return show(value)
