"""Writes the woven form of one scatter site.

    [E(f(a)) for T in XS if C]

becomes

    ([E(__bee_c(a)) for T, __bee_c in __bee__.scatter(N, lambda: f, XS, SHAPE, lambda T: __bee__.args(a))]
     if __bee__.sN else [E(f(a)) for T in XS if C])

`Advice.scatter` yields the targets of each round in order, with a callable that either has the result at hand
or is ``f`` itself. So E runs in the program, in its order, and meets the first exception where the original
would. SHAPE is None for one ``for`` without filter; else it makes the targets from the iterable, filters
included. ``map(f, XS)`` becomes ``__bee__.each(N, lambda: f, XS)``, which is a ``map`` itself. The original stays as it was
in the other branch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import libcst as cst

from bundlebee.weaving.names import Names
from bundlebee.weaving.operands import calls_in, dotted, is_harmless_call, objection, once_only, repeats
from bundlebee.weaving.outcomes import ADVICE_NAME

Comprehension = cst.ListComp | cst.SetComp | cst.DictComp | cst.GeneratorExp

_FORMS = {
    cst.ListComp: ("list", "[", "]"),
    cst.SetComp: ("set", "{", "}"),
    cst.DictComp: ("dict", "{", "}"),
    cst.GeneratorExp: ("generator", "(", ")"),
}

_CALLABLE = "__bee_c"
_TARGETS = "__bee_t"
_ITERABLE = "__bee_i"

_LONGEST = 20_000  # characters of one expression; its text is written twice, and nested ones again


@dataclass(frozen=True, slots=True)
class Spread:
    """The woven form of a site."""

    kind: str
    callee: str
    text: str  #: in parentheses
    attributes: tuple[str, ...]
    fresh: bool  #: see `ScatterSite`


@dataclass(frozen=True, slots=True)
class NotSpread:
    """A candidate that is left alone, and why."""

    kind: str
    callee: str
    reason: str


def spread_map(call: cst.Call, index: int, names: Names, module: cst.Module) -> Spread | NotSpread | None:
    """The woven form of ``map(f, XS)``, or None if it is no candidate."""
    if any(argument.star or argument.keyword is not None for argument in call.args) or len(call.args) < 2:
        return None
    callee = dotted(call.args[0].value)
    if callee is None or names.is_standard(callee.partition(".")[0]):
        return None
    if len(call.args) > 2:
        return NotSpread("map", callee, "goes over several iterables")
    original = module.code_for_node(call)
    if len(original) > _LONGEST:
        return NotSpread("map", callee, "is too long")
    iterable = call.args[1].value
    woven = f"{ADVICE_NAME}.each({index}, lambda: {callee}, {module.code_for_node(iterable)})"
    return Spread("map", callee, _switched(index, woven, original), (), _is_fresh(iterable, names))


def spread_comprehension(
    node: Comprehension, index: int, names: Names, module: cst.Module
) -> Spread | NotSpread | None:
    """The woven form of a comprehension, or None if it calls nothing that could be spread."""
    kind, left, right = _FORMS[type(node)]
    parts = [node.key, node.value] if isinstance(node, cst.DictComp) else [node.elt]
    loops = list(_loops(node.for_in))
    bound = [name for loop in loops for name in _names_in(loop.target)]

    candidates = []
    for part in parts:
        for call, always in calls_in(part):
            callee = dotted(call.func)
            if callee is None or is_harmless_call(call, names):
                continue
            root = callee.partition(".")[0]
            if root not in bound and not names.is_standard(root):
                candidates.append((call, callee, always))
    if not candidates:
        return None
    call, callee, always = candidates[0]
    original = module.code_for_node(node)

    def not_spread(reason: str) -> NotSpread:
        return NotSpread(kind, callee, reason)

    if len(candidates) > 1:
        return not_spread(f"also calls {candidates[1][1]}")
    if not always:
        return not_spread("is called for some of the items only")
    if any(loop.asynchronous is not None for loop in loops):
        return not_spread("is asynchronous")
    if not all(_is_plain_target(loop.target) for loop in loops):
        return not_spread("assigns to more than names")
    if len(set(bound)) != len(bound):
        return not_spread("binds a name twice")
    if len(original) > _LONGEST:
        return not_spread("is too long")
    for inner in loops[1:]:
        if not repeats(inner.iter, names):
            return not_spread("has an inner loop over something that may have effects")
    around: list[cst.CSTNode] = [*(argument.value for argument in call.args)]
    around += [inner.iter for inner in loops[1:]]
    around += [condition.test for loop in loops for condition in loop.ifs]
    for operand in (*parts, *around):
        reason = objection(operand, names, besides=call)
        if reason is not None:
            return not_spread(reason)

    elements = ": ".join(
        module.code_for_node(part.deep_replace(call, call.with_changes(func=cst.Name(_CALLABLE))))
        for part in parts
    )
    targets = _targets(loops, module)
    items = _scatter(
        index,
        callee,
        module.code_for_node(loops[0].iter),
        _shape(loops, targets, module),
        _args_of(call, loops, targets, names, module),
    )
    woven = f"{left}{elements} for {targets}, {_CALLABLE} in {items}{right}"
    if isinstance(node, cst.GeneratorExp) and not node.lpar:
        original = f"({original})"  # it stood alone between the parentheses of a call
    attributes = {name for operand in (*parts, *around) for name in _attributes_in(operand, call)}
    fresh = _is_fresh(loops[0].iter, names)
    return Spread(kind, callee, _switched(index, woven, original), tuple(sorted(attributes)), fresh)


def _is_fresh(iterable: cst.BaseExpression, names: Names) -> bool:
    """Whether an iterable is an iterator that a builtin makes on the spot."""
    match iterable:
        case cst.Call(func=cst.Name(value="enumerate" | "zip" | "reversed" as name)):
            return names.is_builtin(name)
    return False


def _switched(index: int, woven: str, original: str) -> str:
    return f"({woven} if {ADVICE_NAME}.s{index} else {original})"


def _scatter(index: int, callee: str, iterable: str, shape: str, args_of: str) -> str:
    return f"{ADVICE_NAME}.scatter({index}, lambda: {callee}, {iterable}, {shape}, {args_of})"


def _loops(loop: cst.CompFor | None) -> Iterator[cst.CompFor]:
    while loop is not None:
        yield loop
        loop = loop.inner_for_in


def _targets(loops: Sequence[cst.CompFor], module: cst.Module) -> str:
    """All targets as one: ``x``, ``(a, b)``, or ``(x, (a, b))`` for two loops."""
    texts = [_parenthesised(loop.target, module) for loop in loops]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def _parenthesised(node: cst.BaseExpression, module: cst.Module) -> str:
    text = module.code_for_node(node)
    return f"({text})" if isinstance(node, cst.Tuple) and not node.lpar else text


def _shape(loops: Sequence[cst.CompFor], targets: str, module: cst.Module) -> str:
    first = loops[0]
    if len(loops) == 1 and not first.ifs:
        return "None"
    over = module.code_for_node(first.with_changes(iter=cst.Name(_ITERABLE))).strip()
    return f"lambda {_ITERABLE}: ({targets} {over})"


def _args_of(
    call: cst.Call, loops: Sequence[cst.CompFor], targets: str, names: Names, module: cst.Module
) -> str:
    probe = call.with_changes(func=cst.Attribute(cst.Name(ADVICE_NAME), cst.Name("args")))
    for operand in once_only(call.args, names):
        again = cst.Attribute(cst.Name(ADVICE_NAME), cst.Name("again"))
        probe = probe.deep_replace(operand, cst.Call(again, [cst.Arg(operand)]))
    args = module.code_for_node(probe)
    if len(loops) == 1 and isinstance(loops[0].target, cst.Name):
        return f"lambda {targets}: {args}"
    # an item that was unpacked by SHAPE already has become a tuple; one from the iterable may be an iterator
    rebuilt = len(loops) > 1 or bool(loops[0].ifs)
    value = _TARGETS if rebuilt else f"{ADVICE_NAME}.again({_TARGETS}, {_depth(loops[0].target)})"
    return f"lambda {_TARGETS}: [{args} for {targets} in ({value},)][0]"


def _depth(target: cst.CSTNode) -> int:
    if isinstance(target, (cst.Tuple, cst.List)):
        return 1 + max((_depth(element.value) for element in target.elements), default=0)
    return 0


def _names_in(target: cst.CSTNode) -> Iterator[str]:
    if isinstance(target, cst.Name):
        yield target.value
    elif isinstance(target, (cst.Tuple, cst.List)):
        for element in target.elements:
            yield from _names_in(element.value)


def _is_plain_target(target: cst.CSTNode) -> bool:
    if isinstance(target, (cst.Tuple, cst.List)):
        return all(_is_plain_target(element.value) for element in target.elements)
    return isinstance(target, cst.Name)


def _attributes_in(node: cst.CSTNode, besides: cst.Call) -> Iterator[str]:
    if node is besides:
        for argument in besides.args:
            yield from _attributes_in(argument, besides)
        return
    if isinstance(node, cst.Attribute):
        yield node.attr.value
    for child in node.children:
        yield from _attributes_in(child, besides)
