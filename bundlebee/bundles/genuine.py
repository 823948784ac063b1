"""Is a function the one of which the facts of its module speak, or another that was put in its place?"""

from __future__ import annotations

import os
from types import FunctionType, ModuleType

from bundlebee.bundles.facts import FunctionFacts, ModuleFacts
from bundlebee.bundles.originals import original_code, used_names


def is_genuine(facts: FunctionFacts, source: ModuleFacts, function: FunctionType, module: ModuleType) -> bool:
    """Whether the facts speak of that function, and not of another that was put in its place."""
    code = original_code(function)
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if names != (*facts.positional, *facts.keyword_only) or set(code.co_freevars) - {"__class__"} != set(
        facts.free
    ):
        return False
    if len(function.__defaults__ or ()) > len(facts.positional) or set(function.__kwdefaults__ or ()) - set(
        names
    ):
        return False
    file = getattr(module, "__file__", None)
    if file is not None and os.path.basename(file) != os.path.basename(code.co_filename):
        name = os.path.basename(file).removesuffix(".py")
        if code.co_filename != f"<frozen {name}>":
            return False
    if any(operation[0] == "bad" for operation in facts.operations):
        return True  # it ends the analysis, whatever else is in there
    mentioned = _mentioned(facts, source)
    return used_names(code) <= mentioned


def _mentioned(facts: FunctionFacts, source: ModuleFacts) -> set[str]:
    """Globals and attributes that a function mentions, as its facts say it; nested functions included."""
    found: set[str] = set()
    for operation in facts.operations:
        code = operation[0]
        if code in ("name", "setattr", "delattr"):
            found.add(operation[3])
        elif code == "attr":
            found.add(operation[4])
        elif code == "import":
            module = operation[3]
            found |= {module, operation[4] or "", *module.split(".")}
        elif code == "function":
            found |= _mentioned(source[operation[3]], source)
    return found
