"""Programs that could notice that their calls run elsewhere: each says the same under python and under `bundlebee exec`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Home

WORK = "def f(x):\n    return 2 * x\n"

PROGRAMS = {
    "the garbage collector is on": """
import gc
print(gc.isenabled(), gc.get_threshold(), gc.garbage, gc.collect() >= 0)
""",
    "iterators that the program holds": """
it = iter(range(10))
print(any(f(x) == 4 for x in it), list(it))
it = iter([1, 2, 3, 4])
print([f(x) for x, y in zip(it, "ab")], list(it))
it = enumerate("abcdef")
print(all(f(i) < 4 for i, c in it), list(it))
print([f(x) for x in reversed([1, 2, 3])], [f(i) for i, c in enumerate("ab")])
""",
    "map is map": """
import traceback
def stop(x):
    if x == 2:
        raise StopIteration
    return x
def fail(x):
    return 1 // x
print(list(map(stop, range(5))), sum(map(stop, range(5))))
try:
    list(map(fail, [1, 0]))
except ZeroDivisionError:
    print(traceback.format_exc())
list(map(fail, [1, 0]))
""",
    "defaults that the program replaced": """
def g(x, y=2, *, z=3):
    return x + y + z
print([g(x) for x in range(3)])
g.__defaults__ = (50,)
g.__kwdefaults__ = {"z": 500}
print([g(x) for x in range(3)], g(1))
""",
    "threads are counted and joined": """
import threading
def run():
    results.append([f(x) for x in range(5)])
results = []
for _ in range(3):
    threading.Thread(target=run).start()
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join()
print(results, threading.active_count(), threading.enumerate() == [threading.main_thread()])
""",
    "a cache keeps what was true": """
import functools
SCALE = 1
@functools.lru_cache(maxsize=None)
def scaled(x):
    return x * SCALE
def work(x):
    return scaled(x)
print(work(3))
SCALE = 100
print(work(3), [work(x) for x in (3, 4)])
class Box:
    def __init__(self):
        self.side = 2
    @functools.cached_property
    def area(self):
        return self.side ** 2
def area(box):
    return box.area
box = Box()
print(area(box))
box.side = 9
print(area(box), [area(b) for b in [box]])
""",
    "warnings are errors": """
import warnings
warnings.simplefilter("error")
print([f(x) for x in range(5)])
""",
    "errors leave a loop": """
import sys
sys.excepthook = lambda kind, error, traceback: print("hook", kind.__name__)
def g(x):
    return {0: 1}[x]
print([g(x) for x in [0, 0, 0, 1]])
""",
    "an alarm": """
import signal
def ring(number, frame):
    raise TimeoutError
signal.signal(signal.SIGALRM, ring)
for _ in range(6):
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        while True:
            [f(x) for x in range(50)]
            f(1)
    except TimeoutError:
        print("rang")
""",
    "children that end": """
import signal
signal.signal(signal.SIGCHLD, lambda number, frame: print("a child"))
print([f(x) for x in range(5)], f(7))
""",
    "functions that look at their callers": """
import inspect, sys, warnings
def old():
    warnings.warn("old", DeprecationWarning, stacklevel=2)
def who():
    return sys._getframe(1).f_code.co_name, inspect.stack()[1].function
def caller():
    old()
    return who()
print(caller(), [who() for _ in range(1)] == [who() for _ in range(1)])
""",
    "streams of the program's own": """
import io, sys
def talk(n, log):
    log.append(n)
    print("a", n, end=" ")
    print("caf\\xe9", flush=True)
    return n
class Stream:
    def __init__(self):
        self.calls = []
    def write(self, text):
        self.calls.append(text)
        if "2" in text:
            raise ValueError("no 2")
    def flush(self):
        self.calls.append("flush")
real, log = sys.stdout, []
for stream in Stream(), io.StringIO(), io.TextIOWrapper(io.BytesIO(), "ascii"), None:
    for n in range(4):
        sys.stdout = stream
        try:
            found = talk(n, log)
        except (ValueError, UnicodeError) as error:
            found = repr(error)
        sys.stdout = real
        print(found, log)
    if type(stream) is Stream:
        print(stream.calls)
    elif stream is not None:
        stream.flush()
        stream.seek(0)
        print(stream.read())
real.write, write = lambda text: write(f"<{text}>"), real.write
talk(7, log)
real.write = write
class Plain:
    pass
def show(plain):
    print(plain)
plain, sys.stdout = Plain(), io.StringIO()
show(plain)
shown, sys.stdout = sys.stdout.getvalue(), real
print(shown == f"{plain}\\n")
""",
    "exceptions that take no attributes": """
import dataclasses
@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int
def g(x):
    try:
        return {0: 1}[x]
    except LookupError as error:
        raise Frozen(x) from error
for x in (0, 3, 4):
    try:
        print(g(x))
    except Frozen as error:
        print(error.code, repr(error.__cause__))
try:
    print([g(x) for x in (0, 0, 0, 5)])
except Frozen as error:
    print(error.code)
g(7)
""",
    "copies of functions with other globals": """
import asyncio, types
OFFSET = 1
def add(x, y=2, *rest, z=0):
    return x + y + sum(rest) + z + OFFSET
async def later(x):
    return x + OFFSET
class Box:
    def size(self):
        return OFFSET, type(self).__name__, super().__repr__() != ""
print(add(1), asyncio.run(later(1)), Box().size())
other = {"OFFSET": 100, "__builtins__": __builtins__, "sum": sum, "super": super}
copy = types.FunctionType(add.__code__, other, "copy", (7,))
print(copy(1), copy(1, 2, 3, z=4), add(1), asyncio.run(types.FunctionType(later.__code__, other)(1)), asyncio.run(later(1)))
class Other(Box):
    size = types.FunctionType(Box.size.__code__, other, "size", None, Box.size.__closure__)
print(Other().size(), Box().size(), copy.__name__, copy.__defaults__)
""",
    "who watches sees all": """
import cProfile, pstats, sys
def inner(x):
    return x + 1
def outer(x):
    return inner(x) + inner(x)
outer(1)
lines = []
def trace(frame, event, arg):
    if frame.f_code.co_filename != __file__:
        return None
    if event == "line" and frame.f_lineno > frame.f_code.co_firstlineno:  # a dispatcher has the first line only
        lines.append((frame.f_code.co_name, frame.f_lineno))
    return trace
sys.settrace(trace)
outer(2), [outer(x) for x in range(3)]
sys.settrace(None)
found = [line for line in lines if line[0] in ("inner", "outer")]
print(sorted(set(found)), found.count(found[-1]))
profile = cProfile.Profile()
profile.enable()
outer(3)
profile.disable()
print("inner" in {key[2] for key in pstats.Stats(profile).stats})
""",
    "as deep as under python": """
def depth(n):
    try:
        return depth(n + 1)
    except RecursionError:
        return n
print(all(abs(depth(0) - 998) < 6 for _ in range(4)))
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_sees_no_difference(home: Home, name: str) -> None:
    (home.path / "p.py").write_text(WORK + PROGRAMS[name])
    plain = home.python("p.py")
    for policy in ("remote", "chaos:0.5:1") if name == "map is map" else ("remote",):
        ours = home.bee("exec", "--policy", policy, "p.py")
        # an error that was raised elsewhere says so; all else is the same
        output, error = (
            text.replace("raised on node 'own-cores'\n", "") for text in (ours.stdout, ours.stderr)
        )
        assert (output, error, ours.returncode) == (plain.stdout, plain.stderr, plain.returncode)


def test_a_program_is_warned_of_each_time(home: Home) -> None:
    (home.path / "p.py").write_text(
        f"{WORK}def g(x):\n    assert (x, 1)\n    return f(x) is 7\nprint(g(3))\n"
    )
    for flags in ({}, {"PYTHONWARNINGS": "error"}, {"PYTHONWARNINGS": "ignore"}, {}):
        plain = home.python("p.py", env=flags)
        ours = home.bee("exec", "--policy", "remote", "p.py", env=flags)
        assert (ours.stdout, ours.stderr, ours.returncode) == (plain.stdout, plain.stderr, plain.returncode)


ASCII = """
def say(x):
    print("before", x)
    try:
        print("café")
    except UnicodeEncodeError:
        print("refused")
    return x
def shout(x, text):
    for number in range(2000):
        print("again", x)
    print(text)
    return x
print(say(1))
for text in "plain", "caf\\xe9", "\\udc80":
    try:
        print(shout(2, text))
    except UnicodeEncodeError as error:
        print(error)
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "utf-8:surrogateescape"])
def test_streams_that_cannot_write_everything(home: Home, encoding: str) -> None:
    (home.path / "p.py").write_text(ASCII, encoding="utf-8")
    told = {"PYTHONIOENCODING": encoding}
    read = [
        subprocess.run(
            [sys.executable, *start, "p.py"],
            cwd=home.path,
            env={**home.env, **told},
            capture_output=True,
            timeout=60,
            check=False,
        )
        for start in ((), ("-m", "bundlebee", "exec", "-q", "--policy", "remote"))
    ]
    plain, ours = ((done.returncode, done.stdout, done.stderr) for done in read)
    assert ours == plain


ASSERTS = """
def f(x):
    '''Text.'''
    try:
        assert x > 5, x
    except AssertionError:
        return "it ran"
    return __debug__, f.__doc__
print(f(1), [f(x) for x in range(9)])
"""


@pytest.mark.parametrize("option", ["-O", "-OO"])
def test_assertions_run_where_they_would(home: Home, option: str) -> None:
    (home.path / "p.py").write_text(ASSERTS)
    node = home.node("--workers", "1")
    node.wait_for("serves at")
    plain = home.python(option, "p.py")
    start = ("-m", "bundlebee", "exec", "--policy", "remote", "--decisions", "d.jsonl", "p.py")
    ours = home.python(option, *start)
    assert (ours.stdout, ours.returncode) == (plain.stdout, 0), ours.stderr
    records = [json.loads(line) for line in (home.path / "d.jsonl").read_text().splitlines()]
    assert any(record["where"] == "n1" for record in records)
    assert home.python(*start).stdout == home.python("p.py").stdout
    assert node.stop() == 0


def test_chaos_ships_its_share(home: Home) -> None:
    (home.path / "p.py").write_text(f"{WORK}print([f(x) for x in range(100)])\n")
    ours = home.bee("exec", "--policy", "chaos:0.5:3", "--decisions", "d.jsonl", "p.py")
    assert ours.stdout == f"{[2 * x for x in range(100)]}\n"
    records = [json.loads(line) for line in (home.path / "d.jsonl").read_text().splitlines()]
    assert 30 <= sum(record["where"] == "own-cores" for record in records) <= 70


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_goes_on_alone_and_holds_nothing(home: Home) -> None:
    import psutil

    (home.path / "p.py").write_text(
        f"import os, sys\n{WORK}"
        "for turn in range(8):\n"
        "    print([f(x) for x in range(20)], flush=True)\n"
        "    if os.fork() == 0:\n"
        "        print([f(x) for x in range(20)], flush=True)\n"
        "        os._exit(5)\n"
        "    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)\n"
        # a child that outlives its parent
        "if os.fork() == 0:\n"
        "    sys.stdout.close(), sys.stderr.close(), os.close(1), os.close(2)\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
    )
    plain = home.python("p.py", input="")
    read, write = os.pipe()
    try:
        start = time.monotonic()
        ours = home.bee("exec", "--policy", "remote", "p.py", stdin=read)
        assert (ours.stdout, ours.stderr, ours.returncode) == (plain.stdout, plain.stderr, plain.returncode)
        assert time.monotonic() - start < 20
        left = [
            process.pid
            for process in psutil.process_iter(["cmdline", "environ"])
            if "bundlebee.worker" in (process.info["cmdline"] or ())
            and (process.info["environ"] or {}).get("HOME") == str(home.path)
        ]
        assert not left
    finally:
        os.close(read)
        os.close(write)


def test_with_a_node_a_short_program_ends_in_silence(home: Home) -> None:
    node = home.node()
    node.wait_for("serves at")
    for number, name in enumerate(
        ("errors leave a loop", "map is map", "iterators that the program holds") * 2
    ):
        script = f"p{number}.py"
        (home.path / script).write_text(WORK + PROGRAMS[name])
        plain = home.python(script)
        ours = home.bee("exec", "--policy", "remote", script)
        output, error = (text.replace("raised on node 'n1'\n", "") for text in (ours.stdout, ours.stderr))
        assert (output, error, ours.returncode) == (plain.stdout, plain.stderr, plain.returncode)
    assert node.stop() == 0


ADDRESSES = """
import shows

thing = shows.Thing()
print(shows.text(thing) == repr(thing), shows.texts([thing]) == [repr(thing)], shows.both([thing, "x"]) == repr([thing, "x"]))
print([shows.text(one) == repr(one) for one in [thing] * 40])
try:
    shows.refuse(thing)
except ValueError as error:
    print(str(error) == repr(thing))
into = []
shows.put(into, thing)
print(into == [repr(thing)], shows.text(3))
"""

SHOWS = """
class Thing:
    pass

def text(x):
    return repr(x)

def texts(xs):
    return [f"{x}" for x in xs]

def both(xs):
    return "%s" % (xs,)

def refuse(x):
    raise ValueError(str(x))

def put(into, x):
    into.append(str(x))
"""


@pytest.mark.parametrize("policy", ["remote", "chaos:0.5:1"])
def test_texts_that_show_addresses_are_the_callers_own(home: Home, policy: str) -> None:
    place = home.path / "bundles" / "shows"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text(SHOWS)
    (home.path / "program.py").write_text(ADDRESSES)
    ran = home.bee("exec", "--policy", policy, "--decisions", "d.jsonl", "program.py")
    assert ran.stdout == f"True True True\n{[True] * 40}\nTrue\nTrue 3\n", ran.stderr


TOOLS = """
def kind(x):
    return x

def kinds(xs):
    return [kind(x) for x in xs]
"""

IMPORTED = """
from tools import kind, kinds

class Own:
    pass

KINDS = [kinds([Own] * 9) for _ in range(9)]
ONE = kind(Own)
"""


@pytest.mark.parametrize("policy", ["remote", "chaos:0.9:1"])
def test_a_loop_in_the_middle_of_an_import_ends(home: Home, policy: str) -> None:
    """Other threads cannot look up a class of a module that is still being imported, so its loop does not wait for them."""
    place = home.path / "bundles" / "tools"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text(TOOLS)
    (home.path / "imported.py").write_text(IMPORTED)
    (home.path / "p.py").write_text(
        "import imported\nprint(len(imported.KINDS), imported.ONE, set(imported.KINDS[0]))\n"
        "from tools import kinds\nprint(kinds([imported.Own] * 3))\n"
    )
    own = "<class 'imported.Own'>"
    ran = home.bee("exec", "--policy", policy, "--decisions", "d.jsonl", "p.py", timeout=60)
    assert ran.stdout == f"9 {own} {{{own}}}\n[{own}, {own}, {own}]\n", ran.stderr
    records = [json.loads(line) for line in (home.path / "d.jsonl").read_text().splitlines()]
    assert any("imported" in (record["detail"] or "") for record in records)
