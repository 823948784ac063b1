"""The effect analysis, where it looks closer: at each argument by itself, at the library's own source, through decorators."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any

import pytest
from source_modules import SourceModules

from bundlebee.bundles.effects import Effect, Summary
from bundlebee.bundles.fingerprint import Remembered, state
from bundlebee.bundles.stdlib import facts_of_library, real_name
from bundlebee.bundles.values import Reach, keep_identities, refined, walk
from bundlebee.calls.changes import Before
from bundlebee.calls.pickling import dumps, loads, refers
from bundlebee.errors import Unshippable
from bundlebee.hooks.finder import BundleFinder, FallbackFinder

Load = Callable[..., ModuleType]


class World(SourceModules):
    def ask(self, function: Any, *args: Any, **kwargs: Any) -> Summary:
        """As customs does it."""
        return self.analysis.for_arguments(function, walk(args, kwargs), args, kwargs)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.forget()


# -- what an instance holds ---------------------------------------------------------------------------------------


def test_what_hides_an_attribute_of_the_class_is_written(world: World) -> None:
    module = world.load("""
        class Box:
            stuff = ()
            def __init__(self): self.stuff = []
            def add(self, x): self.stuff.append(x)
            def each(self):
                for part in self.stuff: part.append(1)
            def items(self): pass
            def each_item(self):
                for part in self.items: part.append(1)
    """)
    box = module.Box()
    for function, args in (
        (module.Box.add, (box, 1)),
        (module.Box.each, (box,)),
        (module.Box.each_item, (box,)),
    ):
        assert world.ask(function, *args).writes, function
        general = world.analysis.summary(function)
        assert general.level is Effect.UNSAFE or general.writes, function


IMPURE = """
    SEEN = []
    class Node:
        def __init__(self, value): self.value = value
        def __eq__(self, other):
            SEEN.append(other)
            return True
        __hash__ = object.__hash__
        def same(self, x): return self.value == x
        def held(self): return self.value
    class Other:
        def __init__(self, value): self.value = value
        def same(self, x): return self.value == x
"""


def test_methods_of_the_object_itself_do_not_run_for_what_it_holds(world: World) -> None:
    module = world.load(IMPURE)
    assert world.ask(module.Node.same, module.Node([1, "a"]), [1]).level is Effect.FREE
    assert world.ask(module.Other.same, module.Other([1]), {"a": [2]}).level is Effect.FREE


@pytest.mark.parametrize("inside", ["Node(1)", "[Node(1)]", "{1: (Node(2),)}", "Other(Node(1))"])
def test_but_those_of_what_it_holds_do(world: World, inside: str) -> None:
    module = world.load(IMPURE)
    held = eval(inside, module.__dict__)
    for found in (
        world.ask(module.Node.same, module.Node(held), 1),
        world.ask(module.Node.same, module.Node(1), held),
        world.ask(module.Other.same, module.Other(held), 1),
    ):
        assert (found.level, "SEEN" in found.why) == (Effect.UNSAFE, True)


def test_an_object_that_holds_itself(world: World) -> None:
    module = world.load(IMPURE)
    node = module.Node(1)
    node.value = [node]
    assert world.ask(module.Node.same, node, 1).level is Effect.UNSAFE


def test_one_argument_put_into_the_other(world: World) -> None:
    module = world.load(
        IMPURE + "    def f(a, b):\n        a.value = b\n        return a.value == 1\n"
        "    def g(a, b):\n        vars(a)['value'] = b\n        return a.value == 1\n"
    )
    for function in (module.f, module.g):
        assert world.ask(function, module.Other(1), module.Node(1)).level is Effect.UNSAFE
        assert world.ask(function, module.Other(1), [1]).writes


def test_reach() -> None:
    class Plain:
        x = 1

    plain = Plain()
    other = Plain()
    plain.y = [other, len]  # type: ignore[attr-defined]
    other.x = 2
    found = walk(([1, "a", []],), {})
    assert refined(found, ([1, "a", []],), {}) is found
    # by hand, since a class in a function cannot travel
    from bundlebee.bundles.values import _reach

    first, second = _reach([1, "a", {}, Effect.FREE], "anything"), _reach([1], (list, "number"))
    assert first == Reach(None, frozenset({Effect}), ())
    assert second == (list, "number")
    assert (
        Reach(Plain, frozenset(), (len,))
        == Reach(Plain, frozenset(), (len,))
        != Reach(Plain, frozenset(), (max,))
    )


def test_a_class_that_reads_in_its_own_way(world: World) -> None:
    module = world.load("""
        T = []
        class C:
            x = 1
            def __getattribute__(self, name):
                T.append(name)
                return 1
        def f(): return C().x
    """)
    assert "__getattribute__" in world.ask(module.f).why


# -- identity -------------------------------------------------------------------------------------------------------

IDENTITY = """
    class C:
        def __init__(self, x): self.x = x
        def same(self, other): return self is other
        def holds(self, other): return self.x is other
    def either(a, b): return a is b or a == b
    def neither(a, b): return a is not b and a != b
    def mixed(a, b): return a is b or a == 1
    def listed(a, b): return a is b
    def unknown(a):
        if a == 1: return NotImplemented
        return helper(a) is NotImplemented
    def helper(a): return a
"""


def test_objects_among_the_arguments_keep_their_identity(world: World) -> None:
    module = world.load(IDENTITY)
    c = module.C(1)
    assert world.ask(module.C.same, c, c).level is Effect.FREE
    assert world.ask(module.C.same, c, 1000).level is Effect.FREE
    assert world.ask(module.listed, [1], [1]).level is Effect.FREE
    assert world.ask(module.either, 1000, (1, "a")).level is Effect.FREE
    assert world.ask(module.neither, 1000, "a").level is Effect.FREE
    assert world.ask(module.unknown, 1000).level is Effect.FREE


@pytest.mark.parametrize(
    ("name", "args"), [("listed", (1000, 1000)), ("mixed", ("ab", "ab")), ("listed", ((), ()))]
)
def test_data_do_not(world: World, name: str, args: tuple[Any, ...]) -> None:
    module = world.load(IDENTITY)
    assert "identities" in world.ask(getattr(module, name), *args).why
    assert "identities" in world.ask(module.C.holds, module.C(1000), 1000).why


def test_another_notimplemented(world: World) -> None:
    module = world.load("NotImplemented = 1000\ndef f(x): return x is NotImplemented")
    assert world.ask(module.f, 1000).level is Effect.UNSAFE


# -- arguments that are passed on -----------------------------------------------------------------------------------

PASSING = """
    import functools
    SEEN = []
    def passing(function):
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)
        return wrapper
    @passing
    def call(function, x, *, last=None): return function(x)
    def good(x): return x + 1
    def bad(x): SEEN.append(x)
    def both(x): return call(good, x), call(good, x, last=bad)
    def swapped(x): return call(x, good)
    def changed(*args, **kwargs):
        kwargs["function"] = bad
        return call(**kwargs)
    def cut(*args):
        args = args[1:]
        return call(*args)
    def twice(*args): return sum3(*args, *args)
    def sum3(a, b, c=None, d=None): return d(1) if d else a
    def through(x):
        return changed(function=good, x=x)
    def through_cut(x): return cut(good, bad, x)
    def through_twice(x): return twice(x, bad)
    class Caller:
        def __init__(self, function): self.function = function
        def __call__(self, /, *args, **kwargs): return self.function(*args, **kwargs)
    caller, harmful = Caller(good), Caller(bad)
    def by_instance(x): return caller(x)
    def by_another(x): return harmful(x)
    def keep(x, default=SEEN): return default
"""


def test_arguments_keep_their_places_on_the_way(world: World) -> None:
    module = world.load(PASSING)
    assert world.ask(module.both, 1).level is Effect.FREE
    assert world.ask(module.by_instance, 1).level is Effect.FREE
    assert world.ask(module.by_another, 1).level is Effect.UNSAFE


@pytest.mark.parametrize("name", ["through", "through_cut", "through_twice"])
def test_unless_they_are_changed_there(world: World, name: str) -> None:
    module = world.load(PASSING)
    assert "SEEN" in world.ask(getattr(module, name), 1).why


def test_a_default_counts_where_it_is_taken(world: World) -> None:
    module = world.load(PASSING)
    assert world.ask(module.keep, 1, 2).level is Effect.FREE
    assert world.ask(module.keep, 1, default=2).level is Effect.FREE
    assert "default" in world.ask(module.keep, 1).why
    assert "default" in str(world.analysis.summary(module.keep).shown)


def test_a_function_that_calls_itself_takes_its_defaults(world: World) -> None:
    module = world.load("T = []\ndef f(x, default=T): return f(x - 1) if x else default")
    assert "default" in str(world.ask(module.f, 1, 2).shown)


# -- objects of the state that may come back --------------------------------------------------------------------------

COMING_BACK = """
    from threading import Lock
    class Marker:
        def __init__(self): self.inside = [1]
    TABLE, MARKER = {"a": [1]}, Marker()
    class Hidden:
        stuff = Lock(), Marker()  # nothing behind what cannot be compared is looked at
    def one(key, default=MARKER): return TABLE.get(key, default)
    def inside(key): return [key, (MARKER.inside, key)]
    def left(into): into.append(MARKER)
    def changed(into): into["x"] = MARKER.inside
    def hidden(key): return key or Hidden.stuff[1]
    def always(): return MARKER
    def raised(key): raise ValueError(MARKER)
    async def awaited(key): return [MARKER]
    def sentinel(key): return key or object
"""


@pytest.mark.parametrize(
    ("name", "args"),
    [("one", ("a",)), ("one", ("b",)), ("inside", (1,)), ("left", ([],)), ("changed", ({},))],
)
def test_the_worker_knows_what_must_not_come_back(world: World, name: str, args: tuple[Any, ...]) -> None:
    """The analysis lets it go, since it is part of the state that both compare; and there is no way to send it."""
    module = world.load(COMING_BACK)
    summary = world.ask(getattr(module, name), *args)
    assert summary.level is Effect.FREE, summary.why
    found = state(summary.reads, modules=sys.modules)
    assert summary.comes_back(found.objects) is None
    assert summary.comes_back(frozenset()) is not None
    before = Before(walk(args, {}))
    both = getattr(module, name)(*args), before.changes()
    with pytest.raises(Unshippable, match="module-level object"):
        refers(both, (args, {}), found.objects)


@pytest.mark.parametrize("name", ["always", "raised", "awaited"])
def test_what_comes_back_in_any_case(world: World, name: str) -> None:
    module = world.load(COMING_BACK)
    assert "itself" in world.ask(getattr(module, name), *([] if name == "always" else [1])).why


def test_what_the_worker_would_not_know(world: World) -> None:
    module = world.load(COMING_BACK)
    cleared = world.analysis.clear(module.hidden, (1,), {})
    assert cleared.summary.level is Effect.UNSAFE
    assert world.ask(module.sentinel, 1).level is Effect.FREE


# -- descriptors and __dict__ ---------------------------------------------------------------------------------------

DESCRIBED = """
    T = []
    class Counted:
        def __init__(self, name): self.name = name
        def __get__(self, instance, owner=None): return 1 if instance is None else instance._x
        def __set__(self, instance, value): instance._x = value
    class Logging:
        def __get__(self, instance, owner=None): T.append(1)
        def __set__(self, instance, value): T.append(1)
    class Resetting:
        def __set__(self, instance, value):
            own = instance.__dict__
            own["x"] = value
            if "cache" in own: del own["cache"]
    class C:
        a = Counted("a")
        b = Logging()
        x = Resetting()
        def __init__(self):
            self.x = {}
            self.a = 1
    def get(c): return c.a
    def put(c): c.a = [2]
    def of_class(): return C.a
    def logged(c): return c.b
    def log(c): c.b = 1
    def reset(c):
        c.x = [1]
        return len(c.x)
    def make():
        c = C()
        c.x["y"] = 1
        return c.a
    def whole(c): return c.__dict__
    def every(c): return sorted(c.__dict__)
    def sneaky(c):
        c.__dict__["x"] = T
        c.x.append(1)
"""


def test_descriptors_written_in_python(world: World) -> None:
    module = world.load(DESCRIBED)
    c = module.C()
    for function in (module.get, module.of_class, module.make, module.every):
        found = world.ask(function, *([c] if function not in (module.of_class, module.make) else []))
        assert (found.level, found.writes) == (Effect.FREE, ""), (function, found.why)
    for function in (module.put, module.reset):
        found = world.ask(function, c)
        assert found.level is Effect.FREE and found.writes, (function, found.why)
    for function in (module.logged, module.log, module.sneaky):
        assert "'T'" in world.ask(function, c).why
    assert "__dict__" in world.ask(module.whole, c).why


# -- the library by its own source ----------------------------------------------------------------------------------

LIBRARY = """
    import contextlib, textwrap, statistics, sys, operator
    from collections.abc import Mapping, Set
    T = []
    class Table(Mapping):
        def __init__(self, data): self.data = dict(data)
        def __getitem__(self, key): return self.data[key]
        def __iter__(self): return iter(self.data)
        def __len__(self): return len(self.data)
    class Telling(Table):
        def __len__(self):
            T.append(1)
            return 1
    def equal(a, b): return a == b
    def items(a): return [key for key, _ in a.items()]
    def wrap(s): return textwrap.TextWrapper(width=10).wrap(s)
    @contextlib.contextmanager
    def kept(x):
        yield x
    @contextlib.contextmanager
    def noted(x):
        T.append(x)
        yield x
    def within(x):
        with kept(x) as y:
            return y
    def without(x):
        with noted(x) as y:
            return y
"""


def test_the_library_is_read(world: World) -> None:
    module = world.load(LIBRARY)
    found = world.ask(module.equal, module.Table({1: 2}), {1: 2})
    assert found.level is Effect.FREE, found.why
    assert ("sys", "hexversion") in found.reads
    assert world.ask(module.items, module.Table({1: 2})).level is Effect.FREE
    assert world.ask(module.wrap, "some text").level is Effect.FREE
    assert world.ask(module.within, 1).level is Effect.FREE
    assert "'T'" in world.ask(module.without, 1).why
    assert "'T'" in world.ask(module.equal, module.Telling({}), {}).why
    state(found.reads, modules=sys.modules)  # it can be compared


def test_a_library_that_somebody_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    module = world.load(LIBRARY + "    def mine(self, other): return True\n")
    table = module.Table({1: 2})
    monkeypatch.setattr("collections.abc.Mapping.__eq__", module.mine)
    assert "was replaced" in world.ask(module.equal, table, {1: 2}).why


def test_facts_of_the_library() -> None:
    assert facts_of_library(real_name("collections.abc"))
    assert facts_of_library("nothing_like_it") is None
    assert facts_of_library("sys") is None
    assert facts_of_library("pytest") is None


def test_methods_of_a_class_in_a_function(world: World) -> None:
    module = world.load("""
        T = []
        def make(truth):
            class Mark:
                def __bool__(self): return truth
            return Mark()
        MARK = make(False)
        def f(x): return 1 if MARK else x
    """)
    assert world.ask(module.f, 1).level is Effect.FREE


def test_a_text_that_only_formats(world: World) -> None:
    module = world.load("""
        T = []
        class C:
            @property
            def x(self): T.append(1)
            def __str__(self): return "c"
        def plain(c): return "{} {0!r:>5}".format(c)
        def deep(c): return "{0.x}".format(c)
        def computed(c, text): return text.format(c)
    """)
    assert world.ask(module.plain, module.C()).level is Effect.FREE
    assert world.ask(module.deep, module.C()).level is Effect.UNSAFE
    assert world.ask(module.computed, module.C(), "{0.x}").level is Effect.UNSAFE


# -- functions that are compiled when they are called ---------------------------------------------------------------

DECORATORS = """
    T = []
    class argmap:
        def __init__(self, func, *args, try_finally=False):
            self._func, self._args, self._finally = func, args, try_finally
        def __call__(self, f):
            def func(*args, __wrapper=None, **kwargs):
                return argmap._lazy_compile(__wrapper)(*args, **kwargs)
            func.__dict__.update(f.__dict__)
            func.__wrapped__ = f
            func.__defaults__ = f.__defaults__
            func.__self__ = func
            func.__argmap__ = self
            func.__kwdefaults__["_argmap__wrapper"] = func
            return func
        @staticmethod
        def _lazy_compile(func):
            scope = {}
            exec("def code(*args, **kwargs): return wrapped_below(*args, **kwargs)", scope)
            func.__globals__["wrapped_below"] = func.__wrapped__
            func.__code__ = scope["code"].__code__
            func._code = "as it was compiled"
            return func
    def nothing(): pass
    def checked(x): return x
    def noted(x):
        T.append(x)
        return x
    def opened(x): return x, close
    def close(): T.append(2)
    @argmap(nothing)
    def add(x, y=1): return x + y
    @argmap(checked, 0)
    @argmap(nothing)
    def first(x, y=1): return x
    @argmap(noted, "y")
    def second(x, y=1): return x
    @argmap(opened, 0, try_finally=True)
    def third(x, y=1): return x
    @argmap(nothing)
    def harmful(x): T.append(x)
    def calls(x): return add(x) + first(x)
"""


def test_what_is_compiled_when_it_is_called(world: World) -> None:
    module = world.load(DECORATORS, "networkx.utils.decorators")
    before = world.ask(module.calls, 1)
    assert before.level is Effect.FREE, before.why
    digest = state(before.reads, modules=sys.modules).digest
    module.add(1)  # compiles it
    after = world.ask(module.calls, 1)
    assert after.level is Effect.FREE, after.why
    assert after.reads == before.reads
    assert state(after.reads, modules=sys.modules).digest == digest
    module.add.__wrapped__ = module.harmful.__wrapped__
    assert not after.still_valid()
    assert "'T'" in world.ask(module.calls, 1).why


@pytest.mark.parametrize("name", ["second", "third", "harmful"])
def test_what_it_passes_arguments_through(world: World, name: str) -> None:
    module = world.load(DECORATORS + f"    def f(x): return {name}(x)\n", "networkx.utils.decorators")
    assert "'T'" in world.ask(module.f, 1).why


def test_one_that_only_looks_like_it(world: World) -> None:
    module = world.load(DECORATORS, "another_module")
    assert world.ask(module.calls, 1).level is Effect.UNSAFE


# -- modules that are nowhere ---------------------------------------------------------------------------------------

OPTIONAL = """
    T = []
    def f(x):
        try:
            import nowhere_at_all.part as found
            T.append(found)
        except ImportError:
            return x
    def g(x):
        import this
        return x
"""


@pytest.fixture
def usual_finders(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program: pytest has a finder of its own."""
    from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

    monkeypatch.setattr(sys, "meta_path", [BuiltinImporter, FrozenImporter, PathFinder])


@pytest.mark.usefixtures("usual_finders")
def test_a_module_that_is_nowhere(world: World, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = world.load(OPTIONAL)
    found = world.ask(module.f, 1)
    # what it would do with it is looked at, and it is nothing
    assert found.level is Effect.UNSAFE and "'T'" in found.why
    module = world.load(OPTIONAL.replace("T.append(found)", "found.solve(x)"))
    found = world.ask(module.f, 1)
    assert found.level is Effect.FREE, found.why
    assert ("nowhere_at_all", "(absent)") in found.reads
    assert found.still_valid()
    remembered = Remembered(found.reads)
    digest = remembered.state().digest
    assert remembered.state().digest == digest
    (tmp_path / "nowhere_at_all.py").write_text("x = 1")
    monkeypatch.syspath_prepend(tmp_path)
    assert not found.still_valid()
    assert remembered.state().digest != digest
    assert "not loaded yet" in world.ask(module.f, 1).why
    assert "not loaded yet" in world.ask(module.g, 1).why


@pytest.mark.usefixtures("usual_finders")
def test_a_finder_that_nobody_knows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def find_spec(self, *args: Any) -> None:
            raise AssertionError("it is the program's own")

    module = world.load(OPTIONAL.replace("T.append(found)", "found.solve(x)"))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert "not loaded yet" in world.ask(module.f, 1).why


@pytest.mark.usefixtures("usual_finders")
def test_the_grid_may_have_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    finder = BundleFinder({}, SourceFileLoader)
    fallback = FallbackFinder(finder, lambda name: None)
    module = world.load(OPTIONAL.replace("T.append(found)", "found.solve(x)"))
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path, fallback])
    assert "not loaded yet" in world.ask(module.f, 1).why  # nobody was asked
    assert module.f(1) == 1
    assert world.ask(module.f, 1).level is Effect.FREE
    fallback.forget()
    assert "not loaded yet" in world.ask(module.f, 1).why


# -- contexts of the library --------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", ["contextlib.nullcontext(xs)", "contextlib.closing(xs)", "Own(xs)"])
def test_what_a_context_gives_is_what_it_was_given(world: World, context: str) -> None:
    module = world.load(f"""
        import contextlib
        class Own:
            def __init__(self, held): self.held = held
            def __enter__(self): return self.held
            def __exit__(self, *error): pass
        def f(xs):
            with {context} as ys: ys.append(1)
        def g(xs):
            return {context}.__enter__().append(1)
    """)
    for function in (module.f, module.g):
        summary = world.ask(function, [])
        assert summary.writes or summary.level is Effect.UNSAFE, function


# -- what tests say of variables ------------------------------------------------------------------------------------

BRANCHES = """
import random
from datetime import date
from uuid import UUID

SEEN = []

class Graph:
    count = 0
    def __init__(self, data=None):
        self.nodes = {}
        if data is not None:
            SEEN.append(data)
    def name(self, text):
        self.text = text

class Digraph(Graph):
    pass

class SpoilsAll:
    def __init__(self):
        SEEN.append(self)

class Named(Exception):
    pass

class Proxy:
    __class__ = property(lambda self: type)

def from_class(kind):
    if kind is None:
        made = Graph()
    elif isinstance(kind, type):
        made = kind()
    else:
        made = kind
    made.count = 1
    return made
def uses_class():
    return from_class(Digraph)
def early(kind):
    if isinstance(kind, type):
        return 1
    kind.count = 2
    return 2
def uses_early():
    return early(Digraph)
def within_and(kind):
    return not isinstance(kind, type) and setattr(kind, "count", 3)
def uses_and():
    return within_and(Digraph)
def choice(kind):
    return 0 if isinstance(kind, (int, type)) else setattr(kind, "count", 3)
def uses_choice():
    return choice(Digraph)
def seeded(seed=None):
    if seed is None or seed is random:
        seed = random._inst
    elif isinstance(seed, int):
        seed = random.Random(seed)
    return seed.random()
def plain():
    return Graph().nodes

# … and what they do not say
def loop(kinds):
    one = 1
    for kind in kinds:
        if not isinstance(one, type):
            one = kind
            one.count = 4
def uses_loop():
    loop([Digraph])
def later(kind):
    if not isinstance(kind, type):
        while True:
            kind.count = 5
            kind = Digraph
def uses_later():
    later(Graph())
def by_another(kind):
    def change():
        nonlocal kind
        kind = Digraph
    if not isinstance(kind, type):
        change()
        kind.count = 6
def uses_another():
    by_another(Graph())
def delayed(kind):
    if not isinstance(kind, type):
        late = (setattr(kind, "count", 7) for _ in (1,))
        kind = Digraph
        return list(late)
def uses_delayed():
    delayed(Graph())
def walrus(kind):
    return not isinstance(kind, type) and [(kind := Digraph), setattr(kind, "count", 8)]
def uses_walrus():
    walrus(Graph())
def otherwise(kind):
    if isinstance(kind, type):
        kind.count = 9
def uses_otherwise():
    otherwise(Digraph)
def proxied(kind):
    if isinstance(kind, type):
        SEEN.append(kind)
def uses_proxied():
    proxied(Proxy())
def perhaps(values):
    for value in values:
        return [value]
def implicit(values):
    if perhaps(values) is None:
        SEEN.append(1)
def nothing_given(data):
    if data is None:
        SEEN.append(1)
def something_given(data):
    if data is not None:
        SEEN.append(1)
def bare(data):
    yield [data]
    yield
def yields(data):
    for value in bare(data):
        if value is None:
            SEEN.append(1)
def data_of_the_library(data):
    if isinstance(data, UUID) or isinstance(data, date):
        SEEN.append(1)
def own_isinstance(kind):
    isinstance = lambda one, other: True
    if not isinstance(kind, type):
        return
    SEEN.append(1)
def in_both(data):
    if isinstance(data, type):
        x = None
        y = 1
    else:
        x = None
        y = 1
    if x is None and not isinstance(y, type):
        SEEN.append(1)
class Leaves:
    def __enter__(self):
        return self
    def __exit__(self, kind, error, trace):
        if kind is Named:
            SEEN.append(1)
        if isinstance(kind, type):
            SEEN.append(2)
def leaving(data):
    with Leaves():
        raise Named
class Indexed:
    def __len__(self):
        return 1
    def __getitem__(self, key):
        if isinstance(key, int):
            SEEN.append(1)
        return key
    def __eq__(self, other):
        return self is other
    __hash__ = None
def indexed(data):
    import bisect
    return bisect.bisect(Indexed(), Indexed())
def hooked(text):
    import json
    def hook(value):
        if isinstance(value, dict):
            SEEN.append(1)
        return value
    return json.loads(text, object_hook=hook)
def kind_of(data):
    kind = type(data)
    if kind is UUID:
        SEEN.append(1)
def swallowed(data):
    from contextlib import suppress
    with suppress(Named):
        if data is not None:
            with suppress(Named):
                raise Named
        return
    SEEN.append(1)
def tried(kind):
    try:
        if isinstance(kind, type):
            raise Named
    except Named:
        kind.count = 10
def uses_tried():
    tried(Digraph)
"""


@pytest.mark.parametrize("name", ["class", "early", "and", "choice"])
def test_a_branch_sees_what_its_test_leaves(world: World, name: str) -> None:
    summary = world.ask(vars(world.load(BRANCHES))[f"uses_{name}"])
    assert summary.level is Effect.FREE, summary.why


def test_a_class_or_function_that_is_given(world: World) -> None:
    module = world.load(BRANCHES)
    assert world.ask(module.from_class, module.Digraph).level is Effect.FREE
    assert world.ask(module.from_class, kind=module.Graph).level is Effect.FREE
    assert "class attribute" in world.ask(module.otherwise, module.Digraph).why
    assert world.ask(module.otherwise, module.loop).level is Effect.FREE
    assert world.ask(module.from_class, module.SpoilsAll).level is Effect.UNSAFE


def test_a_branch_for_none(world: World) -> None:
    module = world.load(BRANCHES)
    assert world.ask(module.plain).level is Effect.FREE
    assert world.ask(module.seeded, 1).level is Effect.FREE
    for args in [(), (None,), ("text",)]:
        assert world.ask(module.seeded, *args).level is Effect.UNSAFE
    assert world.ask(module.nothing_given, 3).level is Effect.FREE
    assert world.ask(module.nothing_given, None).level is Effect.UNSAFE
    assert world.ask(module.something_given, None).level is Effect.UNSAFE  # a text would look the same


@pytest.mark.parametrize(
    "name",
    ["loop", "later", "another", "delayed", "walrus", "otherwise", "proxied", "tried"],
)
def test_where_a_test_says_nothing(world: World, name: str) -> None:
    summary = world.ask(vars(world.load(BRANCHES))[f"uses_{name}"])
    assert summary.level is Effect.UNSAFE


@pytest.mark.parametrize(
    "name",
    [
        *("implicit", "yields", "data_of_the_library", "own_isinstance", "in_both"),
        *("leaving", "indexed", "hooked", "kind_of", "swallowed"),
    ],
)
def test_what_a_variable_may_be_although_nobody_says_so(world: World, name: str) -> None:
    summary = world.ask(vars(world.load(BRANCHES))[name], "text")
    assert summary.level is Effect.UNSAFE


# -- time zones -----------------------------------------------------------------------------------------------------

ZONES = """
    from datetime import datetime, timedelta, tzinfo
    SEEN = []
    class Zone(tzinfo):
        def __init__(self, hours):
            self.hours = hours
        def __new__(cls, *args):
            return super().__new__(cls)
        def __getinitargs__(self):
            raise AssertionError
        def __reduce__(self):
            raise AssertionError
        __getstate__ = __reduce__
        def utcoffset(self, when):
            SEEN.append(when)
            return timedelta(hours=self.hours)
        def dst(self, when):
            return timedelta(0)
        def tzname(self, when):
            return f"{self.hours:+}"
        def move(self, hours):
            self.hours += hours
            return self
        def within(self, year):
            return datetime(year, 1, 1, tzinfo=self)
        def replaced(self, year):
            return datetime(year, 1, 1).replace(tzinfo=self).utcoffset()
        def given_out(self, year):
            return datetime.combine(datetime(year, 1, 1), datetime(year, 1, 1).time(), self).tzinfo.utcoffset(None)
        def by_its_base(self, when):
            return super().fromutc(when)
    HERE = Zone(1)
    def made(hours): return Zone(hours).tzname(None)
    def existing(hours): return HERE.hours + hours
    def in_here(year): return datetime(year, 1, 1, tzinfo=HERE)
"""


def test_time_zones_are_copied_as_they_are(world: World) -> None:
    module = world.load(ZONES)
    zone = module.Zone(2)
    zone.more = [zone]
    for function, args in [(module.Zone.tzname, (zone, None)), (module.Zone.move, (zone, 1))]:
        assert world.ask(function, *args).level is Effect.FREE
    assert world.ask(module.Zone.move, zone, 1).writes
    copy = loads(dumps((zone,)))[0]
    assert type(copy) is module.Zone
    assert copy.hours == 2
    assert copy.more == [copy]
    assert copy.more[0] is copy
    assert world.ask(module.made, 1).level is Effect.FREE


@pytest.mark.parametrize("name", ["utcoffset", "within", "replaced", "given_out", "by_its_base"])
def test_what_time_zones_run_unseen(world: World, name: str) -> None:
    module = world.load(ZONES)
    assert world.ask(getattr(module.Zone, name), module.Zone(2), 2000).level is Effect.UNSAFE
    assert world.ask(module.in_here, 2000).level is Effect.UNSAFE


def test_a_time_zone_in_a_date_stays(world: World) -> None:
    module = world.load(ZONES)
    with pytest.raises(Unshippable, match="time zone"):
        walk((module.Zone(1).within(2000),), {})


def test_a_time_zone_that_is_state(world: World) -> None:
    module = world.load(ZONES)
    summary = world.ask(module.existing, 1)
    assert summary.level is Effect.FREE
    before = state(summary.reads, modules=sys.modules)
    module.HERE.hours = 5
    assert state(summary.reads, modules=sys.modules).digest != before.digest
    with pytest.raises(Unshippable, match="module global"):
        world.analysis.clear(module.existing, (module.HERE,), {})


# -- names of attributes that are texts ---------------------------------------------------------------------------------

NAMED = """
    SEEN = []
    FIELDS, LISTED, TABLE, ODD = ("one", "two"), ["one"], {"one": "two"}, ("one", "share")
    class Box:
        __slots__ = ("one", "two", "three")
        names = "one"
        def __init__(self):
            for name in self.__slots__:
                setattr(self, name, 0)
        def show(self):
            return [getattr(self, name) for name in FIELDS]
        def add(self, other):
            for name in ("one", "two"):
                value = getattr(self, name) + getattr(other, name)
                setattr(self, name, value)
        def by_class(self):
            return getattr(self, self.names, None)
        def by_key(self):
            return [getattr(self, key) + getattr(self, TABLE[key]) for key in TABLE]
        def listed(self):
            return [hasattr(self, name) for name in LISTED]
        def chosen(self, first):
            return getattr(self, "one" if first else "two")
        @property
        def share(self):
            SEEN.append(self)
        def odd(self):
            return [getattr(self, name) for name in ODD]
        def odder(self):
            return getattr(self, ["one", "share"][-1])
        def computed(self):
            return [getattr(self, "sh" + name) for name in ("are",)]
        def given(self, name):
            return getattr(self, name)
        def mixed(self, name):
            return getattr(self, "one" if name == "" else name)
        def hidden(self):
            return [getattr(type(self).show, name) for name in ("__name__", "__globals__")]
"""


@pytest.mark.parametrize("name", ["show", "add", "by_class", "by_key", "listed", "chosen"])
def test_names_that_are_written_down(world: World, name: str) -> None:
    module = world.load(NAMED)
    args = {"add": (module.Box(),), "chosen": (1,)}.get(name, ())
    assert world.ask(getattr(module.Box, name), module.Box(), *args).level is Effect.FREE
    assert world.ask(module.Box.__init__, module.Box()).level is Effect.FREE


@pytest.mark.parametrize("name", ["odd", "odder", "computed", "given", "mixed", "hidden"])
def test_names_that_do_harm_or_may(world: World, name: str) -> None:
    module = world.load(NAMED)
    args = ("share",) if name in ("given", "mixed") else ()
    assert world.ask(getattr(module.Box, name), module.Box(), *args).level is Effect.UNSAFE


def test_a_list_of_names_may_change(world: World) -> None:
    module = world.load(NAMED)
    box = module.Box()
    summary = world.ask(module.Box.listed, box)
    module.LISTED[0] = "share"
    assert not summary.still_valid()
    assert world.ask(module.Box.listed, box).level is Effect.UNSAFE
    module.TABLE["one"] = "share"
    assert world.ask(module.Box.by_key, box).level is Effect.UNSAFE


# -- identities of what is given ----------------------------------------------------------------------------------------

RINGS = """
    MARK = 1000
    class Ring:
        def __init__(self, *items):
            self.root = root = []
            root[:] = [root, root, None]
            for item in items:
                last = root[0]
                last[1] = root[0] = [last, root, item]
        def items(self):
            found, at = [], self.root[1]
            while at is not self.root:
                found.append(at[2])
                at = at[1]
            return found
        def same(self):
            return self.first is self.second
        def mark(self):
            return self.first is MARK
        def written(self):
            one = 1000
            return self.first is one
        def kept(self):
            self.first = MARK
            return self.first is self.second
    def alike(one, other): return one is other
    def first(values): return values[0] is values[1]
"""


def test_identities_of_what_arguments_hold(world: World) -> None:
    module = world.load(RINGS)
    ring = module.Ring(1, "a", (2,))
    summary = world.ask(module.Ring.items, ring)
    assert summary.level is Effect.FREE, summary.why
    assert summary.compares
    assert loads(dumps((ring,)))[0].items() == ring.items()
    text, number, pair = "some text", 12.5, (1, 2)
    for value in (text, pair, [1], None, True, 7, b"ab"):
        ring.first = ring.second = value
        assert world.ask(module.Ring.same, ring).level is Effect.FREE
        assert loads(dumps((ring,)))[0].same()
    for value in (number, 10**20, 3j):
        ring.first = ring.second = value
        assert world.ask(module.Ring.same, ring).level is Effect.UNSAFE
        assert type(value) is complex or not loads(dumps((ring,)))[0].same()
    assert world.ask(module.first, [[1], [1]]).level is Effect.FREE


@pytest.mark.parametrize("name", ["mark", "written", "kept"])
def test_identities_of_other_data(world: World, name: str) -> None:
    module = world.load(RINGS)
    ring = module.Ring()
    ring.first, ring.second = module.MARK, [1]
    assert world.ask(getattr(module.Ring, name), ring).level is Effect.UNSAFE


def test_numbers_that_are_in_there_twice() -> None:
    number = 12.5
    assert keep_identities(([1, 1.5], {"a": 300}), {"b": 1.25})
    assert not keep_identities(([number], {"a": number}), {})
    assert not keep_identities((number,), {"b": (number,)})
    assert keep_identities(([3, 3], True, True, "long text", "long text"), {})


def test_a_general_answer_says_nothing_of_identities(world: World) -> None:
    module = world.load(RINGS)
    general = world.analysis.summary(module.alike)
    assert general.level is Effect.UNSAFE or not general.covers(walk(([1], [2]), {}))


def test_what_a_class_that_is_given_holds_belongs_to_all(world: World) -> None:
    module = world.load("""
        class P:
            items = []
            def size(self): return 1
        def app(kind): kind.items.append(1)
        def inside(kinds): kinds[0].items.append(1)
        def read(kind): return len(kind.items), kind.size(None)
    """)
    assert world.ask(module.app, module.P).level is Effect.UNSAFE
    assert world.ask(module.inside, [module.P]).level is Effect.UNSAFE
    assert world.ask(module.read, module.P).level is Effect.FREE


# -- copies -------------------------------------------------------------------------------------------------------

COPIED = {
    "made": "class X:\n    def __new__(cls, *_):\n        note()\n        return object.__new__(cls)",
    "asked how": "class X:\n    def __getnewargs__(self):\n        note()\n        return ()",
    "reduced": "class X:\n    def __reduce__(self):\n        note()\n        return X, ()",
    "set": "class X:\n    __slots__ = ('x',)\n    def __init__(self):\n        object.__setattr__(self, 'x', 1)\n"
    "    def __setattr__(self, name, value):\n        note()",
    "filled": "class X(dict):\n    def __init__(self):\n        dict.__setitem__(self, 1, 2)\n"
    "    def __setitem__(self, key, value):\n        note()",
    "listed": "class X(dict):\n    def items(self):\n        note()\n        return []",
    "extended": "class X(list):\n    def __init__(self):\n        list.append(self, 1)\n"
    "    def extend(self, values):\n        note()\n    append = extend",
    "begun": "class X(deque):\n    def __init__(self, *_):\n        note()",
    "begun as a set": "class X(set):\n    def __init__(self, *_):\n        note()",
    "begun as an error": "class X(Exception):\n    def __init__(self, *_):\n        note()",
    "looked up": "class X:\n    def __init__(self):\n        self.x = 1\n"
    "    def __getattr__(self, name):\n        note()\n        raise AttributeError",
}


@pytest.mark.parametrize("copying", ["copy.copy(X())", "copy.deepcopy(X())", "copy.deepcopy([X()])"])
@pytest.mark.parametrize("name", COPIED)
def test_an_instance_that_is_copied_in_its_own_way(world: World, name: str, copying: str) -> None:
    module = world.load(
        "import copy\nfrom collections import deque\nNOTES = []\n"
        "def note():\n    NOTES.append(1)\n"
        f"{COPIED[name]}\nONE = X()\ndef f(x):\n    return {copying.replace('X()', 'x')}\n"
    )
    one = module.ONE
    module.NOTES.clear()
    module.f(one)
    assert module.NOTES  # to copy it does something
    try:
        found = walk((one,), {})
    except Unshippable:
        return
    assert world.analysis.for_arguments(module.f, found, (one,), {}).level is Effect.UNSAFE


def test_plain_data_is_copied_anywhere(world: World) -> None:
    module = world.load("""
        import copy

        class Plain:
            def __init__(self):
                self.values = [1]

        def flat(x):
            return copy.copy(x)

        def deep(x):
            made = copy.deepcopy(x)
            made[0].append(1)
            return made

        CONFIG = {"levels": [[1], [2]]}

        def settings():
            return copy.deepcopy(CONFIG)
        """)
    assert world.ask(module.flat, module.Plain()).level is Effect.FREE
    assert world.ask(module.flat, [1]).level is Effect.FREE
    assert world.ask(module.deep, [[1], (2, [3])]).level is Effect.FREE
    summary = world.ask(module.settings)
    assert summary.level is Effect.FREE
    assert (module.__name__, "CONFIG") in summary.reads
    assert world.ask(module.deep, [module.Plain()]).level is Effect.UNSAFE  # whatever its attributes hold


# -- hashes ------------------------------------------------------------------------------------------------------------

HASHES = """
    import dataclasses
    class Plain: pass
    class Typed:
        def __init__(self, x): self.x = x
        def __eq__(self, other): return self.x == other.x
        def __hash__(self): return hash((type(self).__name__, self.x))
    class ByClass(Typed):
        def __hash__(self): return hash((type(self), self.x))
    @dataclasses.dataclass(frozen=True)
    class Data:
        x: object = 1
    def hashed(x): return hash(x)
    def by_hand(x): return x.__hash__()
    def pair(x): return hash((1, x))
    def of_a_function(x): return hash(hashed)
    def of_none(x): return hash(None)
    def of_an_object(x): return hash(Plain())
    def keyed(x): return {ByClass(x): x}[ByClass(x)]
    def keyed_by(x): return {x: 1}[x]
    def told(x): return hash(ByClass(x))
"""


@pytest.mark.parametrize(
    ("name", "argument", "ships"),
    [
        ("hashed", "'a'", True),
        ("hashed", "(1, 'b', frozenset((2.5,)))", True),
        ("hashed", "Typed(3)", True),
        ("hashed", "Data('a')", True),
        ("by_hand", "Typed('a')", True),
        ("keyed", "1", True),
        ("keyed_by", "Plain()", True),
        ("keyed_by", "Data(None)", True),
        ("Typed.__hash__", "Typed('a')", True),
        ("hashed", "Plain()", False),
        ("hashed", "Data(Plain())", False),
        ("hashed", "Typed(int)", False),
        ("hashed", "ByClass(1)", False),
        ("by_hand", "Plain()", False),
        ("pair", "Plain()", False),
        ("pair", "len", False),
        ("told", "1", False),
        ("of_a_function", "1", False),
        ("of_an_object", "1", False),
        ("ByClass.__hash__", "ByClass(1)", False),
        *(
            (name, argument, sys.version_info >= (3, 12))
            for name, argument in (
                ("hashed", "None"),
                ("pair", "None"),
                ("hashed", "(1, (None,))"),
                ("hashed", "Data(None)"),
                ("Typed.__hash__", "Typed(None)"),
                ("of_none", "1"),
            )
        ),
    ],
)
def test_a_hash_that_is_an_address_stays(world: World, name: str, argument: str, ships: bool) -> None:
    module = world.load(HASHES)
    function: Any = module
    for part in name.split("."):
        function = getattr(function, part)
    summary = world.ask(function, eval(argument, vars(module)))
    assert (summary.level is Effect.FREE) is ships, summary.why
    if not ships:
        assert summary.what.startswith("looks at addresses")


def test_a_general_answer_says_nothing_of_hashes(world: World) -> None:
    module = world.load(HASHES)
    general = world.analysis.summary(module.hashed)
    assert general.level is Effect.UNSAFE or not general.covers(walk((1,), {}))


def test_an_import_of_the_programs_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    module = world.load("""
        def f(x):
            import math
            return math.floor(x)
    """)
    before = world.ask(module.f, 2.5)
    assert before.level is Effect.FREE, before.why
    plain = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda *args: plain(*args))
    assert not before.still_valid()
    assert "__import__" in world.ask(module.f, 2.5).why
