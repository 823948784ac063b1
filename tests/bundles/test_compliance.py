"""The programming model, and how a breach of it is reported."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner

from bundlebee.bundles.compliance import MESSAGES, Violation, check, check_source
from bundlebee.cli.check import check as command
from bundlebee.errors import UsageError


def codes(source: str) -> list[tuple[int, str]]:
    return [(one.line, one.code) for one in check_source(dedent(source).encode(), "m.py")]


BREACHES = {
    "open('x')": "BEE101",
    "import io\nio.open('x')": "BEE101",
    "import os as o\no.remove('x')": "BEE101",
    "from os import path\npath.exists('x')": "BEE101",
    "from pathlib import Path\nPath('x').read_text()": "BEE101",
    "import shutil\nshutil.copy('a', 'b')": "BEE101",
    "import sqlite3\nsqlite3.connect('x')": "BEE101",
    "import socket\nsocket.socket()": "BEE102",
    "from socket import create_connection as c\nc(('a', 1))": "BEE102",
    "import urllib.request\nurllib.request.urlopen('x')": "BEE102",
    "import http.client\nhttp.client.HTTPConnection('x')": "BEE102",
    "import threading\nthreading.Thread()": "BEE103",
    "from threading import Thread\nclass T(Thread): pass": "BEE103",
    "import concurrent.futures as f\nf.ThreadPoolExecutor()": "BEE103",
    "import subprocess\nsubprocess.run([])": "BEE104",
    "import os\nos.fork()": "BEE104",
    "import multiprocessing\nmultiprocessing.Pool()": "BEE104",
    "exec('x')": "BEE105",
    "eval('x')": "BEE105",
    "import importlib\nimportlib.import_module('x')": "BEE105",
    "import sys\nsys.path.append('x')": "BEE105",
    "import sys\nsys.meta_path.insert(0, 1)": "BEE105",
    "import signal\nsignal.signal(1, 2)": "BEE106",
    "import ctypes\nctypes.CDLL('x')": "BEE106",
    "import mmap\nmmap.mmap(1, 2)": "BEE106",
    "import random\nrandom.random()": "BEE107",
    "from random import shuffle\nshuffle([])": "BEE107",
    "import numpy as np\nnp.random.rand(3)": "BEE107",
    "import os\nos.environ['x']": "BEE108",
    "import os\nos.getcwd()": "BEE108",
    "import sys\nsys.setrecursionlimit(1)": "BEE109",
    "import sys\nsys.stdout = None": "BEE109",
    "def f(:": "BEE100",
}


@pytest.mark.parametrize("source", BREACHES)
def test_found(source: str) -> None:
    found = codes(source)
    assert [code for _, code in found] == [BREACHES[source]]
    assert found[0][0] == (1 if "\n" not in source else 2)


@pytest.mark.parametrize(
    "source",
    [
        "import random\nr = random.Random(1)\nr.random()\nr.shuffle([])",
        "import os\nos.path.join('a', 'b')\nos.sep",
        "import threading\nlock = threading.Lock()",
        "import socket",
        "def open(x): return x\nopen('x')",
        "class C:\n    def open(self): pass\nC().open()",
        "def f(eval): return eval(1)",
        "import sys\nsys.stdout.write('x')\nsys.maxsize",
        "from . import socket\nsocket.socket()",
        "'open(1)'",
        "import re\nre.compile('x')",
        "x.random.random()",
    ],
)
def test_not_found(source: str) -> None:
    assert codes(source) == []


def test_silenced_lines() -> None:
    source = """
    import os
    open('a')  # noqa
    open('b')  # noqa: BEE101
    open('c')  # noqa: BEE102
    open(os.environ['d'])  # noqa: BEE101, E501
    open('# noqa')
    """
    assert codes(source) == [(5, "BEE101"), (6, "BEE108"), (7, "BEE101")]


def test_the_form_of_a_line() -> None:
    (one,) = check_source(b"x = 1\ny = open('a')\n", "pkg/m.py")
    assert str(one) == "pkg/m.py:2:5 BEE101 opens a local file (open)"


def test_every_kind_of_bundle(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__init__.py").write_text("open('x')")
    (package / "__pycache__" / "m.py").write_text("open('x')")
    single = tmp_path / "one.py"
    single.write_text("eval('x')")
    wheel = tmp_path / "w.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("w/__init__.py", "import socket\nsocket.socket()")
        archive.writestr("w/data.txt", "open('x')")
    found = check([package, single, wheel])
    assert [(Path(one.path).name, one.code) for one in found] == [
        ("one.py", "BEE105"),
        ("__init__.py", "BEE101"),
        ("__init__.py", "BEE102"),
    ]


@pytest.mark.parametrize("name, content", [("none", None), ("x.txt", b"x"), ("broken.whl", b"x")])
def test_what_is_no_bundle(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError):
        check([tmp_path / name])


def test_command(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text("open('x')\n")
    clean = tmp_path / "clean.py"
    clean.write_text("x = 1\n")
    run = CliRunner().invoke
    result = run(command, [str(file)])
    assert (result.exit_code, result.output) == (1, f"{file}:1:1 BEE101 opens a local file (open)\n")
    result = run(command, ["--json", str(file)])
    assert json.loads(result.output) == [
        {"path": str(file), "line": 1, "column": 1, "code": "BEE101", "message": "opens a local file (open)"}
    ]
    assert run(command, [str(clean)]).exit_code == 0
    assert json.loads(run(command, ["--json", str(clean)]).output) == []
    assert run(command, []).exit_code == 2
    assert isinstance(run(command, [str(tmp_path / "none")]).exception, UsageError)


def test_every_code_is_documented() -> None:
    import bundlebee.bundles.compliance as module

    assert module.__doc__ is not None
    for code in MESSAGES:
        assert f"| {code} |" in module.__doc__
    assert Violation("a", 1, 2, "BEE101", "x") < Violation("a", 2, 1, "BEE100", "x")
