"""Thousands of small programs that pass things through calls of which nothing is known ahead: what the analysis and the gate let go
must do nothing to the module, and give the plain result and the plain changes of the arguments.

They are made of what is dangerous: aliases of one object through a call, objects of the module that are put into others, and
writes to whatever is found where something was put.
"""

from __future__ import annotations

import pickle
import random
import re
import sys
from collections import Counter
from types import ModuleType
from typing import Any

import pytest
from source_modules import load, shown

from bundlebee.bundles.effects import Effect, EffectAnalysis
from bundlebee.bundles.facts import ModuleFacts, facts_of_source
from bundlebee.bundles.values import walk
from bundlebee.calls.changes import Before, restore
from bundlebee.calls.gate import Gate, disagreement
from bundlebee.calls.guard import Guard, GuardStop
from bundlebee.calls.pickling import dumps_referring, loads_referring, refers
from bundlebee.errors import Unshippable

PRELUDE = """
LIST = [[1], [2]]
DICT = {"k": [3]}
class Knot:
    common = []
    def __init__(self, value=None, *more):
        self.value = value
        self.more = list(more)
    def append(self, value): self.more.append(value)
    def __getitem__(self, key): return self.more[key]
    def same(self, *things): return things[0] if things else self
    def both(self, *things): return [self, *things]
    def put(self, *things):
        for thing in things: thing.append(self)
        return things
    def take(self, *things):
        self.more.extend(things)
        return self.more
    def keep(self, *things):
        self.value = things[-1] if things else None
        return self
    def tie(self, *things):
        for one, other in zip(things, things[1:]): one.append(other)
        return things[-1] if things else self.more
    def swap(self, *things):
        self.value, self.more = self.more, [self.value]
        return Knot(self.value)
    def again(self, *things): return getattr(self, ("same", "put", "take", "tie")[len(things) % 4])(*things)
    def leak(self, *things): return LIST
    def leaks(self, *things): things[0].append(DICT)
    def change(self, *things): LIST[0].append(len(things))
    def shared(self, *things): return self.common
    def fails(self, *things): raise ValueError(*things)
    def looks(self, *things): return len(LIST[0]) + len(DICT)
class Other(Knot):
    def same(self, *things): return [self]
    def leak(self, *things): return [1]
"""
METHODS = (
    *("same", "both", "put", "take", "keep", "tie", "swap", "again") * 4,
    "leak", "leaks", "change", "shared", "fails", "looks", "append", "none",
)  # fmt: skip
VARIABLES = ("a", "b", "x", "y", "z")
PLACES = (
    "{v}",
    "{v}",
    "{v}",
    "{v}[0]",
    "{v}[-1]",
    "{v}.value",
    "{v}.more",
    "{v}.more[0]",
    "{v}[0][0]",
    "{v}[0].value",
)
THINGS = (
    *("{p}",) * 6,
    "[{v}]",
    "Knot({v})",
    "1",
    "LIST",
    "DICT",
    "[LIST]",
    "Knot(LIST)",
    "LIST[0]",
    "Knot.common",
    "[*{p}]",
    "list({p})",
)
STATEMENTS = (
    *("{w} = {g}",) * 5, "{w} = {p}",
    "{p}.append({t})", "{p}.value = {t}", "{p}[0] = {t}", "{p}.append(1)",
    "{p}.append(1)", "{p}.value = 1",
    "setattr({p}, 'val' + 'ue', {t})", "{w} = getattr({p}, 'mo' + 're')", "{w} = getattr({p}, 'val' + 'ue', {t})", "{g}.append(1)",
    "{g}[0].append(1)", "{w}, *{u} = {g}", "for {w} in list({g})[:3]: {w}.append(1)", "{w} = [q for q in {g}]",
    "{w} = getattr({p}, 'ti' + 'e'); {w}({p}, {t})",
    "try: {g}\n        except ValueError as error: {w} = error.args", "{w} = {t}", "{p}.more = {t}",
    "getattr({p}, 'com' + 'mon').append(1)",
)  # fmt: skip


class Writer:
    """Writes one program."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def fill(self, template: str) -> str:
        pick = self.random.choice
        out = template
        while "{" in out:
            before, _, rest = out.partition("{")
            name, _, after = rest.partition("}")
            if name == "g":
                method = pick(METHODS)
                things = ", ".join(pick(THINGS[:10]) for _ in range(pick((0, 1, 1, 2, 2))))
                text = f"getattr({{p}}, {method[:2]!r} + {method[2:]!r})({things})"
            else:
                text = pick({"p": PLACES, "t": THINGS}.get(name, VARIABLES))
            out = before + text + after
        return out

    def program(self) -> str:
        lines = [self.fill(self.random.choice(STATEMENTS)) for _ in range(self.random.randint(2, 5))]
        start = self.random.choice(
            ("x, y, z = [a], Knot(b), [[b]]", "x, y, z = a, [b], Knot()", "x, y, z = [], [], Knot([])")
        )
        body = [f"try:\n        {line}\n    except Exception: pass" for line in lines]
        end = self.fill(
            self.random.choice(("return {v}", "return [{v}, {v}]", "return {p}", "return 1", "return {g}"))
        )
        return f"{PRELUDE}\ndef f(a, b=None):\n    " + "\n    ".join([start, *body, end]) + "\n"

    def arguments(self, module: ModuleType) -> tuple[Any, ...]:
        knot, other = module.__dict__["Knot"], module.__dict__["Other"]
        makers = [
            lambda: knot([1], [2]),
            lambda: knot(knot([1]), [2], knot()),
            lambda: other([1], knot()),
            lambda: [[1], knot([2])],
            lambda: [knot()],
        ]
        made = [self.random.choice(makers[:3])(), self.random.choice(makers)()]
        if self.random.random() < 0.4:
            made[1] = self.random.choice([made[0], [made[0]], knot(made[0], made[0])])
        return tuple(made)


def outcome(function: Any, args: tuple[Any, ...]) -> Any:
    try:
        return function(*args)
    except Exception as error:
        return type(error).__name__, re.sub("0x[0-9a-f]+", "0x", str(error))


def state_of(module: ModuleType) -> str:
    space = module.__dict__
    return shown([space["LIST"], space["DICT"], space["Knot"].common])


def check(seed: int) -> str:
    """What became of one program."""
    writer = Writer(seed)
    source = writer.program()
    program = source[len(PRELUDE) :]
    name = "gate_random"
    facts: dict[str, ModuleFacts] = {name: facts_of_source(source, name)}
    module = load(source, name)
    args = writer.arguments(module)
    found = walk(args, {})
    summary = EffectAnalysis(facts.get).for_arguments(module.__dict__["f"], found, args, {}, gaps=True)
    assert "failed" not in summary.why, f"{summary.why}\n{program}"
    if not summary.gaps:
        return "stays" if summary.level is Effect.UNSAFE else "free"
    parcel = pickle.dumps(args)
    elsewhere = load(source, name)
    there = pickle.loads(parcel)
    before, state = Before(walk(there, {})), state_of(elsewhere)
    guard = Guard()
    gate = Gate(guard, lambda asked: (source.encode(), "random.py") if asked == name else None)
    met: list[Any] = []
    guard.active = True
    try:
        again = outcome(gate.guarding(elsewhere.__dict__["f"], summary.gaps, met.append), there)
    except GuardStop:
        again = None
    finally:
        guard.active = False
    assert state_of(elsewhere) == state, f"seed {seed}: state was written there\n{program}"
    if guard.tripped is not None:
        return "stopped"
    item = (there, {})
    try:
        changes = before.changes()
        refers((again, changes), item, frozenset())
        frames = dumps_referring((again, changes), item, before.objects)
    except Unshippable:
        return "refused"
    assert summary.writes or not changes, f"seed {seed}: an argument was written\n{program}"
    sys.modules[name] = module
    here = pickle.loads(parcel)
    assert disagreement(met[0], found) is None
    result = outcome(module.__dict__["f"], args)
    assert state_of(module) == state, f"seed {seed}: the module's state was written\n{program}"
    objects = walk(here, {}).objects
    again, changes = loads_referring(frames, (here, {}), objects)
    restore(objects, changes)
    assert shown((here, again)) == shown((args, result)), f"seed {seed}: they differ\n{program}"
    # what came back must not be the module's own: a copy of that would be another object
    kept = {
        id(one)
        for one in (
            module.__dict__["LIST"],
            *module.__dict__["LIST"],
            module.__dict__["DICT"],
            module.__dict__["Knot"].common,
        )
    }
    reached = shown_ids((args, result))
    assert not kept & reached, f"seed {seed}: an object of the module came back\n{program}"
    return "guarded"


def shown_ids(value: Any) -> set[int]:
    seen: set[int] = set()
    stack = [value]
    while stack:
        one = stack.pop()
        if id(one) not in seen:
            seen.add(id(one))
            if isinstance(one, list | tuple):
                stack += one
            elif hasattr(one, "__dict__") and not callable(one):
                stack += vars(one).values()
    return seen


def check_all(seeds: range) -> None:
    before = sys.modules.get("gate_random")
    ends = Counter(check(seed) for seed in seeds)
    if before is None:
        sys.modules.pop("gate_random", None)
    assert ends["guarded"] > len(seeds) / 10, ends
    assert ends["stopped"] > len(seeds) / 50, ends


def test_what_the_gate_lets_through_does_nothing_here() -> None:
    check_all(range(80))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 21_000, 1000))
def test_what_the_gate_lets_through_does_nothing_here_at_length(start: int) -> None:
    check_all(range(start, start + 1000))
