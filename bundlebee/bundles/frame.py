"""A frame: one function that may be reached in an analysis, with all that its variables may ever hold."""

from __future__ import annotations

from types import FunctionType

from bundlebee.bundles.abstract import ATOM, Value
from bundlebee.bundles.facts import FunctionFacts, ModuleFacts


class Frame:
    """One function of the closure."""

    __slots__ = (
        "caller",
        "cells",
        "facts",
        "function",
        "label",
        "line",
        "module",
        "outer",
        "path",
        "registers",
        "returned",
        "source",
    )

    def __init__(
        self,
        facts: FunctionFacts,
        source: ModuleFacts,
        module: str,
        path: str,
        function: FunctionType | None,
        outer: Frame | None,
    ) -> None:
        self.facts = facts
        self.source = source
        self.module = module
        self.path = path
        self.function = function
        self.outer = outer  #: the frame of the function around it
        self.label = facts.qualname.replace(".<locals>.", ".")
        self.registers: list[set[Value]] = [set() for _ in range(facts.size)]
        self.registers[0].add(ATOM)
        self.cells: dict[str, set[Value]] = {}
        self.returned: set[Value] = set()
        self.caller: Frame | None = None  #: who was the first to call it
        self.line = facts.line  #: … and from which line
