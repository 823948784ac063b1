"""Calls of which nothing is known ahead: what the gate lets through gives the plain answer, and what it stops has done nothing."""

from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Iterator
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from bundlebee.bundles.effects import Effect, EffectAnalysis
from bundlebee.bundles.facts import ModuleFacts, facts_of_source
from bundlebee.bundles.values import walk
from bundlebee.calls.changes import Before, restore
from bundlebee.calls.gate import Gate, Met, disagreement
from bundlebee.calls.guard import Guard, GuardStop
from bundlebee.calls.pickling import dumps_referring, loads_referring, refers

NAME = "gate_sample"

PRELUDE = """
import functools, operator, sys, threading, warnings
LIST = [1]
TABLE = {"a": [1]}
FACTOR = 2
def double(x): return [x * FACTOR]
def write(xs):
    xs.append(5)
    return xs
def keep(x):
    LIST.append(x)
    return x
def give(x): return TABLE["a"]
def give_copy(x): return list(TABLE["a"])
def opens(x): return open(x)
def says(x):
    print("said", x)
    return x
def warns(x):
    warnings.warn("careful")
    return x
def many(xs): yield from xs
def fails(x): raise ValueError(x)
class Odd(Exception): pass
def fails_oddly(x): raise Odd(x)
def starts(x): threading.Thread(target=print).start()
def deep(x): return deep(x)
def closure(x):
    def inner(): return x
    return inner
def decorated(function):
    @functools.wraps(function)
    def wrapper(*args): return function(*args)
    return wrapper
append = LIST.append
update = functools.partial(TABLE.update, b=1)
class Node:
    table = {}
    label = "node"
    def __init__(self, *parts, **named):
        self.parts = list(parts)
        self.__dict__.update(named)
    def visit(self, name, *args, **named):
        return getattr(self, "visit_" + name)(*args, **named)
    def visit_sum(self): return [sum(self.parts)]
    def visit_self(self): return self
    def visit_grow(self, x=1):
        self.parts.append(x)
        return self.parts
    def visit_twice(self, name): return [self.visit(name), self.visit(name)]
    def visit_keep(self): return LIST.append(self)
    def visit_table(self): return self.table
    def visit_factor(self): return FACTOR
    def visit_fail(self): raise KeyError(1)
    def visit_say(self): print("saying"); return 1
    def visit_new(self): return Node(1)
    def visit_other(self): return Other()
    def visit_many(self): yield 1
    def visit_nan(self): return float("nan")
    def visit_function(self): return double
    def visit_named(self, *, key): return [key, self.parts]
    @decorated
    def visit_wrapped(self): return 1
    @property
    def computed(self): return LIST.append(1)
    @staticmethod
    def visit_static(x): return [x]
    @classmethod
    def visit_class(cls): return cls.__name__
class Other:
    def harmful(self): LIST.append(1)
class Sly:
    def __getattr__(self, name): return LIST
class Fields:
    def __init__(self): self.a = [1]
class Strict:
    def __setattr__(self, name, value):
        LIST.append(name)
        object.__setattr__(self, name, value)
class Free:
    def __init__(self): pass
    def __setattr__(self, name, value): object.__setattr__(self, "_" + name, value)
def node(*parts): return Node(*parts)
"""


class World:
    """A module at its caller, and the same again as a worker has it."""

    def __init__(self, source: str) -> None:
        self.source = PRELUDE + dedent(source)
        self.facts: dict[str, ModuleFacts] = {NAME: facts_of_source(self.source, NAME)}
        self.here = self.load()
        self.analysis = EffectAnalysis(self.facts.get)
        self.there = self.load()
        self.guard = Guard()
        self.gate = Gate(
            self.guard, lambda name: (self.source.encode(), "gate_sample.py") if name == NAME else None
        )
        sys.modules[NAME] = self.here

    def load(self) -> ModuleType:
        module = ModuleType(NAME)
        module.__file__ = "gate_sample.py"
        sys.modules[NAME] = module
        exec(compile(self.source, "gate_sample.py", "exec", dont_inherit=True), module.__dict__)
        return module

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Ship a call of ``f``, and bring back what it did. Raises what it raises, or GuardStop."""
        sys.modules[NAME] = self.here
        found = walk(args, kwargs)
        function = self.here.f
        summary = self.analysis.for_arguments(function, found, args, kwargs, gaps=True)
        assert summary.level is not Effect.UNSAFE, summary.why
        assert summary.gaps
        assert not summary.free
        parcel = pickle.dumps((args, kwargs))
        sys.modules[NAME] = self.there
        codes = {
            name: thing.__code__ for name, thing in vars(self.there).items() if hasattr(thing, "__code__")
        }
        item = pickle.loads(parcel)
        before = Before(walk(*item))
        met: list[list[Met]] = []
        guard = self.guard
        guard.tripped = None
        guard.active = True
        limit = sys.getrecursionlimit()
        try:
            run = self.gate.guarding(self.there.f, summary.gaps, met.append)
            result = run(*item[0], **item[1])
        except BaseException:
            if guard.tripped is not None:
                raise GuardStop(guard.tripped) from None
            raise
        finally:
            guard.active = False
            assert sys.getrecursionlimit() == limit
            for name, code in codes.items():
                assert vars(self.there)[name].__code__ is code
        if guard.tripped is not None:
            raise GuardStop(guard.tripped)
        changes = before.changes()
        assert summary.writes or not changes
        refers((result, changes), item, frozenset())
        frames = dumps_referring((result, changes), item, before.objects)
        sys.modules[NAME] = self.here
        if met and (why := disagreement(met[0], found)) is not None:
            raise Disagrees(why)
        objects = walk(args, kwargs).objects
        result, changes = loads_referring(frames, (args, kwargs), objects)
        restore(objects, changes)
        return result


class Disagrees(Exception):
    pass


def state(module: ModuleType) -> str:
    return repr((module.LIST, module.TABLE, module.Node.table))


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    yield
    sys.modules.pop(NAME, None)


VISIT = """
def f(node, name, *args, **named):
    return getattr(node, "visit_" + name)(*args, **named)
"""


def test_a_method_by_a_computed_name() -> None:
    world = World(VISIT)
    assert world.call(world.here.Node(1, 2), "sum") == [3]


def test_it_returns_the_object_itself() -> None:
    world = World(VISIT)
    node = world.here.Node(1)
    assert world.call(node, "self") is node
    assert world.call(node, "named", key=[1])[1] is node.parts


def test_what_it_writes_is_written_here() -> None:
    world = World(VISIT)
    node = world.here.Node(1)
    parts = node.parts
    assert world.call(node, "grow", [7]) is parts
    assert parts == [1, [7]]


def test_gaps_in_what_a_gap_calls() -> None:
    world = World(VISIT)
    assert world.call(world.here.Node(1, 2), "twice", "sum") == [[3], [3]]


def test_it_fails_as_plain_code_does() -> None:
    world = World(VISIT)
    with pytest.raises(KeyError, match="1") as caught:
        world.call(world.here.Node(), "fail")
    assert [entry.name for entry in caught.traceback if str(entry.path).endswith("gate_sample.py")] == [
        "f",
        "visit_fail",
    ]
    with pytest.raises(AttributeError, match="'Node' object has no attribute 'visit_nothing'"):
        world.call(world.here.Node(), "nothing")
    with pytest.raises(TypeError, match=r"Node.visit_sum\(\) takes 1 positional argument but 2 were given"):
        world.call(world.here.Node(), "sum", 1)


def test_what_is_printed_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    world = World(VISIT)
    assert world.call(world.here.Node(), "say") == 1
    assert capsys.readouterr().out == "saying\n"


@pytest.mark.parametrize("name", ["keep", "table", "other", "many", "nan", "function", "wrapped", "class"])
def test_what_is_stopped(name: str) -> None:
    world = World(VISIT)
    before = state(world.there)
    with pytest.raises(GuardStop, match=r"gate_sample\.py:"):
        world.call(world.here.Node(), name)
    assert state(world.there) == before
    assert world.call(world.here.Node(1), "sum") == [1]  # the worker goes on


def test_a_new_object_of_a_class_that_is_among_the_arguments() -> None:
    world = World(VISIT)
    assert world.call(world.here.Node(), "new").parts == [1]


def test_a_patched_method_is_noticed() -> None:
    world = World(VISIT)
    world.here.Node.visit_sum = lambda self: "patched"
    with pytest.raises(Disagrees):
        world.call(world.here.Node(1), "sum")


def test_a_changed_global_that_only_the_gap_reads_is_noticed() -> None:
    world = World(VISIT)
    assert world.call(world.here.Node(), "factor") == 2
    world.here.FACTOR = 3
    with pytest.raises(Disagrees):
        world.call(world.here.Node(), "factor")


def test_an_argument_that_is_state_of_what_the_gap_calls() -> None:
    world = World("def f(node, name, x): return getattr(node, name)(x)")
    world.here.Node.peek = world.there.Node.peek = None
    world = World(
        "class Reader:\n"
        "    def read(self, x): return TABLE['a'][0]\n"
        "def f(node, name, x):\n"
        "    x.append(1)\n"
        "    return getattr(node, name)(x)\n"
    )
    with pytest.raises(Disagrees, match="part of state"):
        world.call(world.here.Reader(), "read", world.here.TABLE["a"])


TRAPS = """
class Watcher:
    def __get__(self, thing, kind): return LIST.append
class Caller:
    def __call__(self, *args): LIST.append(1)
class Traps:
    function = lambda self, *args: LIST.append(1)
    bound = LIST.append
    partial = functools.partial(LIST.append, 1)
    update = TABLE.update
    described = Watcher()
    called = Caller()
    kind = Caller
    def warned(self, x): return warns(x)
    def thread(self, x): return starts(x)
    def exec(self, x): exec("LIST.append(1)")
    def class_(self, x): Traps.kind = x
    def slot(self, x): self.__class__ = Node
    def cached(self, x): return keeps(x)
    def ends(self, x): raise SystemExit(x)
    def ordered(self, x): return {x, 6, 7}  # numbers: texts are in order under some hash seeds only
    def coroutine(self, x):
        async def inner(): return x
        return inner()
class Loud:
    def __eq__(self, other): return LIST.append(1)
    def __add__(self, other): return LIST.append(1)
    def __iter__(self): return iter([LIST.append(1)])
    def __len__(self): return LIST.append(1) or 1
    def __str__(self): return str(LIST.append(1))
    def __enter__(self): LIST.append(1)
    def __exit__(self, *args): LIST.append(1)
    __hash__ = None
    def itself(self, x): return self
@functools.lru_cache
def keeps(x): return [x]
"""


@pytest.mark.parametrize(
    "name",
    """function bound partial update described called kind warned thread exec class_ slot cached ends ordered coroutine
    __init__ __class__ __dict__ __reduce__""".split(),  # noqa: SIM905
)
def test_traps(name: str) -> None:
    world = World(TRAPS + "def f(traps, name, *args): return getattr(traps, name)(*args)\n")
    before = state(world.there)
    cached = world.there.keeps.cache_info()
    if name == "ends":
        with pytest.raises(SystemExit):
            world.call(world.here.Traps(), name, 5)
    elif name == "ordered":
        assert world.call(world.here.Traps(), name, 5) == {5, 6, 7}
    else:
        with pytest.raises(GuardStop):
            world.call(world.here.Traps(), name, 5)
    assert state(world.there) == before
    assert world.there.keeps.cache_info() == cached
    assert world.there.Traps.kind is world.there.Caller


@pytest.mark.parametrize(
    "use",
    [
        "r == 1",
        "r + 1",
        "1 in [r]",
        "list(r)",
        "len(r)",
        "str(r)",
        "f'{r}'",
        "bool(r)",
        "[*r]",
        "sorted([r, r])",
        "{r: 1}",
    ],
)
def test_special_methods_of_what_comes_back(use: str) -> None:
    world = World(TRAPS + f"def f(loud, name):\n    r = getattr(loud, name)(1)\n    return {use}\n")
    args = (world.here.Loud(), "itself")
    summary = world.analysis.for_arguments(world.here.f, walk(args, {}), args, {}, gaps=True)
    if summary.level is not Effect.UNSAFE:
        assert use in ("{r: 1}", "1 in [r]"), use
        with pytest.raises((TypeError, GuardStop)):
            world.call(*args)
        assert world.there.LIST == [1]


ATTRIBUTE = "def f(thing, name, *more): return getattr(thing, 'x' if not name else name, *more)"


def test_an_attribute_by_a_computed_name() -> None:
    world = World(ATTRIBUTE)
    thing = world.here.Fields()
    assert world.call(thing, "a") is thing.a
    assert world.call(thing, "b", 7) == 7
    assert world.call(world.here.Node(), "label") == "node"
    with pytest.raises(AttributeError, match="'Fields' object has no attribute 'b'"):
        world.call(thing, "b")


@pytest.mark.parametrize("name", ["computed", "table", "visit_sum", "__dict__", "__class__"])
def test_attributes_that_are_stopped(name: str) -> None:
    world = World(ATTRIBUTE)
    before = state(world.there)
    with pytest.raises(GuardStop):
        world.call(world.here.Node(), name)
    assert state(world.there) == before


def test_an_object_that_computes_its_attributes() -> None:
    world = World(ATTRIBUTE)
    with pytest.raises(GuardStop):
        world.call(world.here.Sly(), "a")


def test_writing_an_attribute_by_a_computed_name() -> None:
    world = World("def f(thing, name, value): setattr(thing, name, value)\n")
    thing, value = world.here.Fields(), [2]
    world.call(thing, "a", value)
    assert thing.a is value
    with pytest.raises(GuardStop):
        world.call(world.here.Strict(), "a", 1)
    with pytest.raises(GuardStop):
        world.call(world.here.Node(), "computed", 1)
    assert world.there.LIST == [1]


def test_what_setattr_has_put_there_is_known_afterwards() -> None:
    world = World("def f(thing, name):\n    setattr(thing, name, LIST)\n    thing.a.append(1)\n")
    found = walk((world.here.Fields(), "a"), {})
    summary = world.analysis.for_arguments(world.here.f, found, (world.here.Fields(), "a"), {}, gaps=True)
    assert summary.level is Effect.UNSAFE


def test_object_setattr() -> None:
    world = World(
        "def f(thing, name): thing.put(name)\nclass Put:\n    def put(self, name): object.__setattr__(self, name, [1])\n"
    )
    thing = world.here.Put()
    world.call(thing, "a")
    assert thing.a == [1]


def test_every_call_of_a_module_level_object_stays() -> None:
    for body in (
        "getattr(LIST, name)(1)",
        "getattr(TABLE, name)()",
        "getattr(ONE, name)()",
        "getattr(node, name)(LIST)",
        "getattr(node, name)([LIST])",
        "getattr(node, name)(key=TABLE)",
        "getattr(node, name)(node=Node(LIST))",
        "setattr(node, name, LIST)(node)",
        "setattr(ONE, name, 1)",
        "append(name)",
        "update()",
        "getattr(node, name)(append)",
        "getattr(node, name)(lambda: LIST)",
        "getattr(node, name).append(1)",
        "sorted([1], key=getattr(node, name))",
        "list(map(getattr(node, name), [1]))",
    ):
        world = World(f"ONE = Node()\ndef f(node, name): return {body}\n")
        args = (world.here.Node(), "a")
        summary = world.analysis.for_arguments(world.here.f, walk(args, {}), args, {}, gaps=True)
        if summary.level is not Effect.UNSAFE:
            before = state(world.there)
            with pytest.raises((GuardStop, AttributeError)):
                world.call(*args)
            assert state(world.there) == before


def test_what_was_swallowed_is_not_believed() -> None:
    world = World(
        """
        def f(node, name):
            try:
                return getattr(node, name)()
            except BaseException:
                return "swallowed"
        """
    )
    with pytest.raises(GuardStop):
        world.call(world.here.Node(), "visit_keep")


def test_an_exception_of_the_program_is_not_let_out_of_a_gap() -> None:
    world = World(
        "class Bad:\n    def bad(self): raise Odd(1)\ndef f(bad, name): return getattr(bad, name)()"
    )
    with pytest.raises(GuardStop, match="Odd"):
        world.call(world.here.Bad(), "bad")


def test_a_gap_in_a_comprehension_a_lambda_and_a_nested_function() -> None:
    world = World(
        """
        def f(node, names):
            def inner(name): return getattr(node, name)()
            return [getattr(node, name)() for name in names] + [inner(names[0])] + [(lambda n: getattr(node, n)())(names[0])]
        """
    )
    assert world.call(world.here.Node(1, 2), ["visit_sum"]) == [[3], [3], [3]]


def test_what_is_unpacked_into_a_call() -> None:
    world = World("def f(node, name, xs, ys): return getattr(node, name)(*xs, **ys)")
    assert world.call(world.here.Node(3), "visit_named", (), {"key": 1}) == [1, [3]]
    with pytest.raises(GuardStop, match="unpacks"):
        world.call(world.here.Node(3), "visit_named", 5, {})


def test_deep_recursion_is_left_to_the_caller() -> None:
    world = World(
        "class Deep:\n    def deep(self): return f(self, 'deep')\ndef f(node, name): return getattr(node, name)()"
    )
    with pytest.raises(GuardStop, match=r"RecursionError|too deeply"):
        world.call(world.here.Deep(), "deep")


def test_a_function_that_is_not_what_its_source_says() -> None:
    world = World(VISIT)
    exec("def f(node, name, *args, **named): return getattr(node, 'visit_' + name)(1)", world.there.__dict__)
    with pytest.raises(GuardStop):
        world.call(world.here.Node(), "sum")


@pytest.mark.parametrize(
    "body",
    [
        # through an object that was passed
        "xs = [node]; ys = getattr(node, name)(xs); ys.append(LIST); xs[1].append(1)",
        "xs = []; getattr(node, name)(xs); node.parts = [LIST]; xs[0].parts[0].append(1)",
        "xs, ys = [], []; getattr(node, name)(xs, ys); ys.append(LIST); xs[0][0].append(1)",
        # … one that is hidden in it
        "xs = []; other = Node(xs); ys = getattr(node, name)(other); ys.parts[0].append(LIST); xs[0].append(1)",
        # … the object of the method
        "other = Node(); getattr(other, name)(node); node.parts.append(LIST); other.parts[0].append(1)",
        "other = Node(); method = getattr(other, name); method(node); node.parts = LIST; other.parts[0].parts.append(1)",
        # … what came back
        "xs = getattr(node, name)(); xs.append(LIST); getattr(node, name)()[0].append(1)",
        "xs = getattr(node, name)(); xs.more = LIST; node.parts[0].more.append(1)",
        # objects whose methods do harm
        "xs = []; getattr(node, name)(xs); xs[0].visit_keep()",
        "xs = {}; getattr(node, name)(xs); xs['k'].visit_keep()",
        "xs = []; getattr(node, name)(k=[xs]); xs[0].visit_keep()",
        "other = Fields(); getattr(node, name)(other); other.b.visit_keep()",
        "other = Fields(); setattr(other, name, node); other.b.visit_keep()",
        "getattr(node, name)().visit_keep()",
        "getattr(node, name).visit_keep()",
        "for x in getattr(node, name)(): x.visit_keep()",
        "try: getattr(node, name)()\n    except ValueError as e: e.args[0].visit_keep()",
        # … an exception
        "xs = [1]\n    try: getattr(node, name)(xs)\n    except ValueError as e: xs.append(LIST); e.args[0][1].append(1)",
    ],
)
def test_what_goes_in_may_come_out_anywhere(body: str) -> None:
    world = World(f"def f(node, name):\n    {body}\n")
    args = (world.here.Node(), "a")
    summary = world.analysis.for_arguments(world.here.f, walk(args, {}), args, {}, gaps=True)
    assert summary.level is Effect.UNSAFE
    calm = World(f"def f(node, name):\n    {body.replace('LIST', '[[1]]').replace('keep', 'grow')}\n")
    args = (calm.here.Node(), "a")
    summary = calm.analysis.for_arguments(calm.here.f, walk(args, {}), args, {}, gaps=True)
    assert summary.level is not Effect.UNSAFE, summary.why


def test_an_unknown_exception_is_stopped_when_it_comes_to_it() -> None:
    world = World(
        """
        def f(x):
            if x > 1:
                raise ExceptionGroup("many", [ValueError(x)])
            return [x]
        def g(x): return ExceptionGroup("many", [ValueError(x)])
        """
    )
    assert world.call(1) == [1]
    with pytest.raises(GuardStop, match="ExceptionGroup"):
        world.call(2)
    found = walk((1,), {})
    assert world.analysis.for_arguments(world.here.g, found, (1,), {}, gaps=True).level is Effect.UNSAFE


def test_without_leave_there_are_no_gaps() -> None:
    world = World(VISIT)
    args = (world.here.Node(), "sum")
    assert world.analysis.for_arguments(world.here.f, walk(args, {}), args, {}).level is Effect.UNSAFE


@pytest.mark.parametrize("call", ["(n)", "(*[n])"])
def test_a_gap_leaves_the_stack_that_plain_code_has(call: str) -> None:
    world = World(
        f"class Deep:\n    def left(self, n): return n\ndef f(deep, name, n): return getattr(deep, name){call}\n"
    )
    args = (world.here.Deep(), "left", 0)
    gaps = world.analysis.for_arguments(world.here.f, walk(args, {}), args, {}, gaps=True).gaps
    sys.modules[NAME] = world.there
    world.there.Deep.left = lambda self, n: sys.getrecursionlimit() - len(inspect.stack(0))
    world.gate._ask = lambda *asked: (walk((), {}), None)  # type: ignore[method-assign]
    plain = world.there.f(world.there.Deep(), "left", 0)
    world.guard.active = True
    guarded = world.gate.guarding(world.there.f, gaps, lambda met: None)(world.there.Deep(), "left", 0)
    world.guard.active = False
    assert guarded == plain
