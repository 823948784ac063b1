"""A ``stacklevel`` that reaches across our frames names the program's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, traceback, warnings
warnings.simplefilter("always")

def g(n, **more):
    warnings.warn(f"deep {n}", stacklevel=n, **more)

def f(n, **more):
    g(n, **more)

def e(n, **more):
    f(n, **more)

def h(n):
    warnings.warn("positional", DeprecationWarning, n)

for n in (-1, 0, 1, 2, 3, 4, 5, 6, 100):
    e(n)
    h(n)
[e(x) for x in (3, 4)]
list(map(e, [3, 4]))
with warnings.catch_warnings():
    warnings.simplefilter("error")
    try:
        e(3)
    except Warning:
        traceback.print_exc()
for bad in ("x", None, 1.5):
    try:
        e(bad)
    except TypeError:
        traceback.print_exc()
try:
    warnings.warn()
except TypeError as error:
    print(error)
if sys.version_info >= (3, 12):
    for n in (1, 2, 3, 4):
        e(n, skip_file_prefixes=("/nowhere",))
        e(n, skip_file_prefixes=(__file__,))
"""


@pytest.mark.parametrize("policy", ["local", "remote"])
def test_warnings_name_the_place_that_they_name_under_python(tmp_path: Path, policy: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    said = [
        subprocess.run([sys.executable, *command, str(program)], capture_output=True, text=True, timeout=60)
        for command in ([], ["-m", "bundlebee", "exec", "-q", "--policy", policy])
    ]
    assert said[0].stderr.count("UserWarning: deep") > 10
    assert said[1].stderr == said[0].stderr
    assert said[1].stdout == said[0].stdout


IMPORTED = """
import warnings
def depth(frame):
    return 1
warnings.warn("moved", DeprecationWarning, stacklevel=2)
"""


def test_a_module_of_a_bundle_that_warns_its_importer(tmp_path: Path) -> None:
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "old.py").write_text(IMPORTED)
    (tmp_path / "bundles" / "user.py").write_text("def use():\n    import old\n")
    program = tmp_path / "program.py"
    program.write_text("import user\nuser.use()\n")
    said = [
        subprocess.run(
            [sys.executable, "-W", "always::DeprecationWarning:user", *command, str(program)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
        ).stderr
        for command, path in (([], "bundles"), (["-m", "bundlebee", "exec", "-q", "--policy", "local"], ""))
    ]
    assert "user.py:2: DeprecationWarning: moved" in said[0]
    assert said[1].replace(str(tmp_path / "bundles"), "bundles") == said[0].replace(
        str(tmp_path / "bundles"), "bundles"
    )
