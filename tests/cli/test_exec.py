"""`bundlebee exec` is python, seen from outside: output, exit codes, arguments, standard input, signals, tracebacks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Home

SHOW = "import sys; print(sys.argv, __name__, sys.path[0] == '', sorted(k for k in globals() if k[:2] == '__'))\n"

PROGRAMS = {
    "plain": "print('hello')\n",
    "arguments": "import sys\nprint(sys.argv, __name__, __file__)\n",
    "status": "import sys\nsys.exit(3)\n",
    "words": "import sys\nsys.exit('no more')\n",
    "error": "def f(x):\n    return 1 / x\n\n\ndef g():\n    try:\n        f(0)\n    except ZeroDivisionError as error:\n"
    "        raise KeyError('k') from error\n\n\ng()\n",
    "syntax": "x = (\n",
    "stdin": "import sys\nprint(sys.stdin.read()[::-1])\n",
    "loop": "def f(x):\n    if x == 5:\n        raise ValueError(x)\n    return x\n\n\nprint([f(x) for x in range(3)])\n"
    "print([f(x) for x in range(9)])\n",
    "modules": "import sys\nm = sys.modules['__main__']\nprint(m.__name__, m.__spec__, m.__package__)\n"
    "class A:\n    pass\nimport pickle\nprint(pickle.loads(pickle.dumps(A())).__class__ is A)\n",
    "exits": "import atexit, threading\natexit.register(print, 'last')\n"
    "threading.Thread(target=lambda: print('thread')).start()\nprint('main')\n",
    "environment": "import os\nprint(sorted(k for k in os.environ if 'HASH' in k or k.startswith('BUNDLEBEE_H')))\n",
}


@pytest.mark.parametrize("policy", ["auto", "local", "remote"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_script_is_as_under_python(home: Home, name: str, policy: str) -> None:
    script = home.path / "script.py"
    script.write_text(PROGRAMS[name])
    plain = home.python("script.py", "a", "-m", "--policy", input="some text")
    ours = home.bee("exec", "--policy", policy, "script.py", "a", "-m", "--policy", input="some text")
    assert (ours.stdout, ours.returncode) == (plain.stdout, plain.returncode)
    # an error that was raised elsewhere says so; all else is the same
    assert ours.stderr.replace("raised on node 'own-cores'\n", "") == plain.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", SHOW, "x", "-y"],
        ["-m", "package", "--flag", "1"],
        ["-m", "package.module", "-c"],
        ["-m", "nosuch"],
        ["nosuch.py"],
        ["package", "z"],
        ["-c", "import package.module as m; print(m.__name__, m.twice(4))"],
    ],
)
def test_other_ways_to_name_a_program(home: Home, arguments: list[str]) -> None:
    package = home.path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(SHOW + "print(__package__, __spec__ and __spec__.name)\n")
    (package / "module.py").write_text(SHOW + "def twice(x):\n    return 2 * x\n")
    plain = home.python(*arguments)
    ours = home.bee("exec", *arguments)
    # __main__ keeps one name more, through which the woven code finds its advice
    assert ours.stdout.replace(" '__bee__',", "") == plain.stdout
    assert (ours.stderr, ours.returncode) == (plain.stderr, plain.returncode)


def test_standard_input_may_be_the_program(home: Home) -> None:
    assert home.bee("exec", "-", "q", input="import sys\nprint(sys.argv)\n").stdout == "['-', 'q']\n"


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_ctrl_c_ends_it_as_it_ends_python(home: Home) -> None:
    script = home.path / "wait.py"
    script.write_text("import time\nprint('ready', flush=True)\nwhile True:\n    time.sleep(0.01)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "bundlebee", "exec", str(script)],
        env=home.env,
        cwd=home.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    home.running.append(process)  # type: ignore[arg-type]
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _out, error = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert error.rstrip().endswith("KeyboardInterrupt")
    assert "bundlebee/" not in error


HEAVY = """\
def work(number):
    total = 0
    for i in range(40_000):
        total = (total * 31 + number * i) % 1_000_003
    return total


class Grid:
    def __init__(self, scale):
        self.scale = scale

    def cell(self, x, y):
        return sum(work(self.scale * x + i) for i in range(3)) + y


if __name__ == "__main__":
    grid = Grid(3)
    print([work(number) for number in range(40)])
    print({number: work(number) % 7 for number in range(20) if number % 2})
    print(sum(work(a + b) for a in range(5) for b in range(5)), max(map(work, range(30))))
    print([grid.cell(x, 1) for x in range(8)], sorted({work(n) % 5 for n in (1, 2, 3, 4, 5, 6)}))
"""


@pytest.mark.parametrize("policy", ["auto", "remote", "chaos:0.3:7", "local"])
def test_without_a_grid_this_machines_cores_do_it(home: Home, policy: str) -> None:
    script = home.path / "heavy.py"
    script.write_text(HEAVY)
    plain = home.python(script)
    ours = home.bee("exec", "--policy", policy, "--decisions", "d.jsonl", script)
    assert (ours.stdout, ours.stderr, ours.returncode) == (plain.stdout, "", 0)
    records = [json.loads(line) for line in (home.path / "d.jsonl").read_text().splitlines()]
    where = {record["where"] for record in records}
    assert where == {"here"} if policy == "local" else "here" in where or policy == "remote"
    if policy in ("remote", "chaos:0.3:7"):
        assert "own-cores" in where
    for record in records:
        assert set(record) >= {
            "function", "bundle", "where", "why", "estimate", "seconds", "bytes_out", "bytes_back", "time",
        }  # fmt: skip
        assert record["function"].startswith("__main__:")


def test_prints_and_errors_of_shipped_calls_come_home(home: Home) -> None:
    script = home.path / "talk.py"
    script.write_text(
        "def talk(n):\n    print('line', n)\n    return n\n\n\ndef fail(n):\n    print('before')\n"
        "    return [1, 2][n]\n\n\nfor n in range(3):\n    print('got', talk(n))\nfail(7)\n"
    )
    plain = home.python(script)
    ours = home.bee("exec", "--policy", "remote", "--decisions", "d.jsonl", script)
    assert ours.stdout == plain.stdout
    assert ours.returncode == 1
    assert "IndexError: list index out of range" in ours.stderr
    assert 'talk.py", line 8, in fail' in ours.stderr
    records = [json.loads(line) for line in (home.path / "d.jsonl").read_text().splitlines()]
    assert {(record["function"], record["where"]) for record in records} == {
        ("__main__:talk", "own-cores"),
        ("__main__:fail", "own-cores"),
    }


WRITERS = """\
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from array import array

class Node:
    __slots__ = ("value", "next", "__hidden")
    def __init__(self, value, next=None):
        self.value = value
        self.next = next
        self.__hidden = 1
    def bump(self, by):
        self.value += by
        self.__hidden += 1
        if self.next is not None:
            self.next.bump(by)
        return self

@dataclass
class Account:
    owner: str
    history: list = field(default_factory=list)
    balance: float = 0.0
    def deposit(self, amount):
        if amount < 0:
            self.history.append("refused")
            raise ValueError("negative")
        self.balance += amount
        self.history.append(("in", amount))
        return self.balance

def solve(board, depth):
    for i in range(len(board)):
        board[i] = (board[i] * 7 + depth) % 11
    if depth:
        solve(board, depth - 1)
    return board

def reorder(d, od, q, buf, arr):
    d["z"] = d.pop("a")
    od.move_to_end("a")
    q.rotate(1); q.append(9)
    buf[0] = 7; buf += b"xx"
    arr.append(5)
    return d, od

def swap(pair):
    a, b = pair
    a.append(b); b.append(a)
    return pair

def drop(acc):
    del acc.owner
    acc.extra = [acc.history, acc.history]

if __name__ == "__main__":
    n = Node(1, Node(2, Node(3)))
    keep = n.next
    assert n.bump(5) is n
    print(n.value, keep.value, keep.next.value, n._Node__hidden)
    acc = Account("x")
    h = acc.history
    print(acc.deposit(3.5), acc.deposit(1), h, acc.history is h)
    try:
        acc.deposit(-1)
    except ValueError as e:
        print("error", e, h)
    b = [3, 1, 4, 1, 5]
    print(solve(b, 3) is b, b)
    d = {"a": [1], "b": 2}; od = OrderedDict(a=1, b=2); q = deque([1,2,3]); buf = bytearray(b"abc"); arr = array("i", [1,2])
    va = d["a"]
    print(reorder(d, od, q, buf, arr)[0] is d, d, od, q, buf, arr, d["z"] is va)
    p = ([1], [2])
    r = swap(p)
    print(r is p, p[0][1] is p[1], p[1][1] is p[0])
    drop(acc)
    print(vars(acc), acc.extra[0] is h)
"""


@pytest.mark.parametrize("policy", ["remote", "chaos:0.5:1", "chaos:0.5:2"])
def test_what_calls_write_to_their_arguments_is_written_here(home: Home, policy: str) -> None:
    script = home.path / "writers.py"
    script.write_text(WRITERS)
    plain = home.python(script)
    assert plain.returncode == 0
    ours = home.bee("exec", "--policy", policy, "--decisions", "d.jsonl", script)
    assert (ours.stdout, ours.stderr, ours.returncode) == (plain.stdout, "", 0)
    records = [json.loads(line) for line in (home.path / "d.jsonl").read_text().splitlines()]
    shipped = {record["function"] for record in records if record["where"] == "own-cores"}
    if policy == "remote":
        assert shipped == {f"__main__:{name}" for name in WRITING}
    else:
        assert shipped


WRITING = ("Node.__init__", "Node.bump", "Account.deposit", "solve", "reorder", "swap", "drop")


def test_nothing_is_left_behind(home: Home, tmp_path: Path) -> None:
    import psutil

    script = home.path / "heavy.py"
    script.write_text(HEAVY)
    assert home.bee("exec", "--policy", "remote", script).returncode == 0
    end = time.monotonic() + 10
    while True:
        left = [
            process.info
            for process in psutil.process_iter(["pid", "cmdline", "environ"])
            if "bundlebee.worker" in (process.info["cmdline"] or ())
            and (process.info["environ"] or {}).get("HOME") == str(home.path)
        ]
        if not left:
            break
        assert time.monotonic() < end, left
        time.sleep(0.05)


LOGS = """
import logging, logging.config
import heavy

class Record(logging.LogRecord):
    def __init__(self, *args, **kwargs):
        assert args[0] == "mine", args
        super().__init__(*args, **kwargs)

logging.setLogRecordFactory(Record)
logging.config.dictConfig({"version": 1, "root": {"level": "ERROR"}})
logging.disable(logging.CRITICAL)
print(heavy.f(3), sum([heavy.f(n) for n in range(300)]))
logging.disable(logging.NOTSET)
logging.getLogger("mine").error("this is the program's")
print([name for name in logging.root.manager.loggerDict if name.startswith("bundlebee")])
"""


@pytest.mark.parametrize("policy", ["remote", "chaos:0.5:2"])
def test_the_programs_logging_and_ours_do_not_meet(home: Home, policy: str) -> None:
    place = home.path / "bundles" / "heavy"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text("def f(n):\n    return sum(range(n))\n")
    (home.path / "script.py").write_text(LOGS)
    ran = home.bee("exec", "--policy", policy, "-vv", "script.py")
    assert ran.stdout == f"3 {sum(sum(range(n)) for n in range(300))}\n[]\n", ran.stderr
    assert "heavy:f → " in ran.stderr  # the program silenced its own log only
    assert ran.stderr.count("this is the program's\n") == 1  # by the handler of last resort


@pytest.mark.parametrize("policy", ["local", "remote", "chaos:0.5:1"])
def test_decorators_see_the_code_of_the_author(home: Any, bundles: Any, policy: str) -> None:
    """Libraries note `__code__` to know their own frames in tracebacks."""
    bundles(
        {
            "codes.py": "import os\nseen = set()\ndef note(function):\n    seen.add(function.__code__)\n    return function\n"
            "@note\ndef work(n):\n    os.getpid()\n    return 1 // n\nEARLY = work(1)\n"
        }
    )
    (home.path / "p.py").write_text(
        "import codes\ntry:\n    codes.work(0)\nexcept ZeroDivisionError as error:\n"
        "    print(error.__traceback__.tb_next.tb_frame.f_code in codes.seen)\n"
    )
    done = home.bee("exec", "--policy", policy, "p.py")
    assert (done.stdout, done.stderr) == ("True\n", "")
