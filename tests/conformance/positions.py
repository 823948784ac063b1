"""Where code says that it is: every position of every code object, woven against plain.

    python positions.py DISTRIBUTION ...        e.g. networkx, or stdlib:enum

For each module file of those (their tests too): the file is compiled plainly and woven, and the two trees of code
objects are walked side by side. A function that holds no advice must be the same to the last byte. One that does (a module, a
class with methods, a function with a scatter site) must run the same instructions at the same positions in the same
order, with the advice in between; and the advice stands on lines that are the author's. Warnings of the compiler must
name the same place. Where all that holds, tracebacks, carets, `inspect.getsource` and warnings cannot differ: they are
made from these tables. Prints one JSON object; exit code 1 where something differs.
"""

from __future__ import annotations

import dis
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

from bundlebee.bundles.distributions import from_distribution
from bundlebee.errors import WeaveError
from bundlebee.weaving.weaver import weave

_SAME = ("co_name", "co_qualname", "co_filename", "co_firstlineno", "co_argcount", "co_kwonlyargcount")
_EXACT = (
    "co_code",
    "co_flags",
    "co_linetable",
    "co_exceptiontable",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
)
_NAMED = frozenset((*dis.hasname, *dis.haslocal, *dis.hasfree))
#: since 3.12, two moves of local variables become one instruction where they meet; they cannot fail, so nobody sees where they are
_FUSED = sys.version_info >= (3, 12)
_FILLING = frozenset({"EXTENDED_ARG", "CACHE", "NOP"})


def compare(plain: CodeType, woven: CodeType) -> Iterator[str]:
    """What differs between two code objects and those in them, apart from advice; empty where all is well."""
    where = f"{plain.co_qualname} (line {plain.co_firstlineno})"
    for name in _SAME:
        if getattr(plain, name) != getattr(woven, name):
            yield f"{where}: {name} is {getattr(plain, name)!r} plain, {getattr(woven, name)!r} woven"
    inner, advice = _pairs(_inner(plain), _inner(woven))
    if inner is None:
        yield f"{where}: holds other code"
        return
    if "__bee__" not in woven.co_names and not advice:
        exact = [name for name in _EXACT if getattr(plain, name) != getattr(woven, name)]
        if _constants(plain) != _constants(woven):
            exact.append("co_consts")
        yield from (f"{where}: {name} differs" for name in exact)
    else:
        yield from (f"{where}: {difference}" for difference in _among_advice(plain, woven))
    for one, other in inner:
        yield from compare(one, other)


def _inner(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _constants(code: CodeType) -> list[str]:
    return [_shown(constant) for constant in code.co_consts if not isinstance(constant, CodeType)]


def _shown(constant: Any) -> str:
    """As `repr`; in which order a set iterates depends on which of its texts the compiler has met before."""
    if type(constant) is frozenset:
        return f"frozenset({sorted(map(_shown, constant))})"
    if type(constant) is tuple:
        return f"({', '.join(map(_shown, constant))},)"
    return repr(constant)


def _key(code: CodeType) -> tuple[Any, ...]:
    return code.co_qualname, code.co_firstlineno


def _pairs(
    plain: list[CodeType], woven: list[CodeType]
) -> tuple[list[tuple[CodeType, CodeType]] | None, list[CodeType]]:
    """Twins, and what only the woven side has: lambdas and comprehensions of spread branches."""
    pairs, rest = [], list(woven)
    for code in plain:
        alike = [index for index, other in enumerate(rest) if _key(code) == _key(other)]
        if not alike:
            return None, rest
        # the spread branch of a site has its own lambdas and comprehensions, on the same line
        twin = next((index for index in alike if not any(compare(code, rest[index]))), alike[0])
        pairs.append((code, rest.pop(twin)))
    return pairs, rest


def _steps(code: CodeType) -> Iterator[tuple[Any, ...]]:
    """The instructions in order: operation, name or constant, and position."""
    for one in dis.get_instructions(code):
        if one.opname in _FILLING or (
            _FUSED and any(word in one.opname for word in ("_FAST", "_DEREF", "SWAP"))
        ):
            continue
        operand = one.argval if one.opcode in _NAMED else None
        if one.opcode in dis.hasconst and not isinstance(one.argval, CodeType):
            operand = _shown(one.argval)
        p = one.positions
        place = (p.lineno, p.end_lineno, p.col_offset, p.end_col_offset) if p is not None else ()
        # a variable that the spread branch reads, too, lives in a cell
        yield one.opname.replace("_DEREF", "_FAST"), operand, *place


def _among_advice(plain: CodeType, woven: CodeType) -> Iterator[str]:
    steps, lines = list(_steps(woven)), {step[2] for step in _steps(plain)}
    lines.update(_first_lines(plain))
    at = 0
    for step in _steps(plain):
        start = at
        while at < len(steps) and steps[at] != step:
            at += 1
        if at == len(steps):
            yield f"{step} is missing after {steps[max(0, start - 1)]}"
            return
        for extra in steps[start:at]:
            if extra[2] is not None and extra[2] not in lines:
                yield f"advice at {extra}, where the author has no code"
        at += 1


def _first_lines(code: CodeType) -> set[int]:
    """The lines of definitions: a decorator of ours stands on the ``def``, which may be below others."""
    return {line for inner in _inner(code) for line in range(inner.co_firstlineno, inner.co_firstlineno + 40)}


def files(distribution: str) -> Iterator[tuple[str, Path]]:
    """Every module of an installed distribution, with its file."""
    bundle = from_distribution(distribution)
    for name in bundle.ref.imports:
        if (single := bundle.path / f"{name}.py").is_file():
            yield name, single
        for file in sorted((bundle.path / name).rglob("*.py")):
            parts = file.relative_to(bundle.path).with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__"), file


def check(module: str, file: Path) -> tuple[str, list[str], int]:
    """How it went (``same``, ``differs``, ``plain``: not woven), what differs, and the number of code objects."""
    source = file.read_bytes()
    said: list[list[tuple[Any, ...]]] = []
    codes: list[CodeType] = []
    for make in (
        lambda: compile(source, str(file), "exec", dont_inherit=True),
        lambda: weave(source, module=module, path=str(file)).code,
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                codes.append(make())
            except (SyntaxError, ValueError, WeaveError):
                return "plain", [], 0
        said.append([(w.category.__name__, str(w.message), w.filename, w.lineno) for w in caught])
    found = list(compare(*codes))
    if said[0] != said[1]:
        found.append(f"the compiler warns of {said[0]} plain, of {said[1]} woven")
    return "differs" if found else "same", found, _count(codes[0])


def _count(code: CodeType) -> int:
    return 1 + sum(map(_count, _inner(code)))


def main(names: list[str]) -> int:
    counts = {"same": 0, "differs": 0, "plain": 0, "lines": 0, "code": 0}
    differences = []
    for name in names:
        for module, file in files(name):
            end, found, objects = check(module, file)
            counts[end] += 1
            counts["code"] += objects
            counts["lines"] += file.read_bytes().count(b"\n")
            differences += [f"{module}: {one}" for one in found]
    print(json.dumps({**counts, "differences": differences}))
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
