"""Which modules of a package are going to be imported, and in which order, as far as its sources tell at a glance.

Only import statements that begin a line count: they run when the module does. What is imported in functions, or if
something holds, may never be. A wrong guess costs time, and nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_IMPORT = re.compile(
    rb"^(?:import[ \t]+(?P<names>[^#\n;]+)"
    rb"|from[ \t]+(?P<dots>\.*)(?P<base>[\w.]*)[ \t]+import[ \t]*(?P<what>\([^)]*\)|[^#\n;]+))",
    re.MULTILINE,
)
_COMMENT = re.compile(rb"#[^\n]*")


def expected(module: str, path: str) -> list[tuple[str, str, int]]:
    """Modules of the same top-level package, in the order in which an import of one module reaches them.

    Args:
        module: dotted name of the first.
        path: its source file.

    Returns:
        dotted name, source file and size in bytes of each, the first one included.
    """
    files = _files(module, path)
    found: list[tuple[str, str, int]] = []
    parts = module.split(".")
    seen = {
        ".".join(parts[:end]) for end in range(1, len(parts))
    }  # packages around it are on their way already
    todo = [iter([module])]
    while todo:
        name = next(todo[-1], None)
        if name is None:
            todo.pop()
            continue
        if name in seen or name not in files:
            continue
        seen.add(name)
        try:
            source = Path(files[name]).read_bytes()
        except OSError:
            continue
        found.append((name, files[name], len(source)))
        is_package = os.path.basename(files[name]) == "__init__.py"
        todo.append(_with_parents(_imports(source, name, is_package)))
    return found


def _with_parents(names: Iterator[str]) -> Iterator[str]:
    for name in names:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            yield ".".join(parts[:end])


def _imports(source: bytes, module: str, is_package: bool) -> Iterator[str]:
    """The dotted names that import statements mention; some of them are no modules."""
    for match in _IMPORT.finditer(source):
        names, dots, base, what = match["names"], match["dots"], match["base"], match["what"]
        if names is not None:
            for name in names.split(b","):
                yield _word(name)
            continue
        origin = base.decode()
        if dots:
            parts = module.split(".")
            parent = parts[: len(parts) - len(dots) + is_package]
            origin = ".".join([*parent, *([origin] if origin else [])])
        yield origin
        for name in _COMMENT.sub(b"", what).strip(b"() \t").split(b","):
            yield f"{origin}.{_word(name)}"


def _word(name: bytes) -> str:
    return name.partition(b" as ")[0].strip().decode(errors="replace")


def _files(module: str, path: str) -> dict[str, str]:
    """The source files of a module's top-level package, by dotted name; named as Python's finders name them."""
    top = os.path.dirname(path)
    for _ in range(module.count(".") - (os.path.basename(path) != "__init__.py")):
        top = os.path.dirname(top)
    files = {module: path}
    if "." not in module and os.path.basename(path) != "__init__.py":
        return files
    for directory, below, names in os.walk(top):
        below[:] = [name for name in below if name.isidentifier()]
        relative = os.path.relpath(directory, top)
        prefix = [module.partition(".")[0], *([] if relative == os.curdir else relative.split(os.sep))]
        for name in names:
            if name.endswith(".py"):
                parts = prefix if name == "__init__.py" else [*prefix, name[:-3]]
                files.setdefault(".".join(parts), os.path.join(directory, name))
    return files
