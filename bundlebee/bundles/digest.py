"""The content digest: what makes two packagings of the same code the same bundle.

It covers the files below the import names that a bundle owns, modules and data alike, with their names; and
nothing that says how the code was packed: no metadata, no compression, no times, no caches. A file enters as::

    length of its path, 8 bytes | path in UTF-8, with "/" | length of its content, 8 bytes | content

in the order of the encoded paths, after a line that names this scheme. All of that goes through SHA-256.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_SCHEME = b"bundlebee-digest-1\n"

#: Files and directories that tools leave in packages. They never belong to the code.
_LEFT_OVER = frozenset(
    {
        "__pycache__",
        "__MACOSX",
        ".git",
        ".hg",
        ".svn",
        ".DS_Store",
        "Thumbs.db",
        ".idea",
        ".vscode",
        ".ipynb_checkpoints",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".hypothesis",
    }
)
_LEFT_OVER_ENDS = (".pyc", ".pyo", ".swp", ".swo", "~", ".dist-info", ".egg-info")


def is_left_over(name: str) -> bool:
    """Whether a file or directory of that name (one part of a path) never belongs to a bundle."""
    return name in _LEFT_OVER or name.endswith(_LEFT_OVER_ENDS) or name.startswith((".#", "._"))


def content(files: Mapping[str, bytes]) -> tuple[tuple[str, ...], dict[str, bytes]]:
    """The import names that a set of files offers, and the files that belong to them.

    Args:
        files: content by path, relative to an entry of ``sys.path``, with ``/``.

    Returns:
        The top-level names, sorted; and the part of ``files`` that the digest covers. Both are empty where
        there is no Python source.
    """
    kept = {path: data for path, data in files.items() if not any(map(is_left_over, path.split("/")))}
    names = {name for path in kept if (name := _import_name(path)) is not None}
    mine = {path: data for path, data in kept.items() if _owner(path) in names}
    return tuple(sorted(names)), mine


def digest(files: Mapping[str, bytes]) -> str:
    """The digest of the files that `content` selected: 64 lower-case hex digits."""
    import hashlib

    state = hashlib.sha256(_SCHEME)
    for path, data in _in_order(files.items()):
        state.update(len(path).to_bytes(8, "big"))
        state.update(path)
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.hexdigest()


def _in_order(files: Iterable[tuple[str, bytes]]) -> list[tuple[bytes, bytes]]:
    return sorted((path.encode("utf-8", "surrogateescape"), data) for path, data in files)


def _owner(path: str) -> str:
    top, slash, _rest = path.partition("/")
    return top if slash else top.removesuffix(".py")


def _import_name(path: str) -> str | None:
    """The top-level name that a source file makes importable."""
    if not path.endswith(".py"):
        return None
    name = _owner(path)
    return name if name.isidentifier() and path not in ("__init__.py", "__main__.py") else None
