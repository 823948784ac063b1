"""The programming model, checked: what a compliant bundle does not do.

| code | the bundle | because |
|---|---|---|
| BEE100 | cannot be parsed | nothing can be said about it |
| BEE101 | opens a local file | the file is on one machine, the call may be on another |
| BEE102 | opens a socket | connections belong to one machine, too |
| BEE103 | starts a thread | the grid spreads the work, and a shipped call must end when it returns |
| BEE104 | starts a process | as above |
| BEE105 | loads classes on its own (``importlib``, ``exec``, ``eval``, ``sys.path``, ``sys.meta_path``) | the grid loads bundles |
| BEE106 | manages resources on its own (signals, shared memory, foreign code, the collector) | the node does |
| BEE107 | uses the global random generator | its state is not the same elsewhere; use a ``random.Random(seed)`` |
| BEE108 | depends on the environment (variables, working directory, locale, time zone) | it differs between machines |
| BEE109 | changes the interpreter (recursion limit, tracing, standard streams) | others run in it |

A line that ends in ``# noqa`` or ``# noqa: BEE101`` is not reported. The check reads source only: it names the
places, it does not prove their absence. The effect analysis does not rely on it.
"""

from __future__ import annotations

import ast
import re
import tokenize
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from bundlebee.errors import UsageError

MESSAGES = {
    "BEE100": "cannot be parsed",
    "BEE101": "opens a local file",
    "BEE102": "opens a socket",
    "BEE103": "starts a thread",
    "BEE104": "starts a process",
    "BEE105": "loads classes on its own",
    "BEE106": "manages resources on its own",
    "BEE107": "uses the global random generator",
    "BEE108": "depends on the environment",
    "BEE109": "changes the interpreter",
}
"""What each code says."""

#: Dotted names, or beginnings of them that end in a dot.
_NAMES: dict[str, str] = {
    "BEE101": "open io.open io.FileIO io.open_code os.open os.fdopen os.remove os.unlink os.rename os.replace os.mkdir os.makedirs "
    "os.rmdir os.removedirs os.listdir os.scandir os.walk os.stat os.chmod os.link os.symlink os.truncate os.path.exists "
    "os.path.isfile os.path.isdir os.path.getsize os.path.getmtime codecs.open shutil. tempfile. glob. fileinput. sqlite3.connect "
    "dbm. shelve. gzip.open bz2.open lzma.open zipfile.ZipFile tarfile.open tarfile.TarFile logging.FileHandler linecache. filecmp.",
    "BEE102": "socket.socket socket.create_connection socket.create_server socket.socketpair socket.getaddrinfo socket.gethostbyname "
    "socketserver. ssl. http.client. http.server. urllib.request. ftplib. smtplib. poplib. imaplib. telnetlib. xmlrpc.client. "
    "xmlrpc.server. asyncio.open_connection asyncio.start_server select. selectors. requests. httpx. aiohttp. urllib3. zmq.",
    "BEE103": "threading.Thread threading.Timer _thread. concurrent.futures.ThreadPoolExecutor multiprocessing.pool.ThreadPool "
    "multiprocessing.dummy. asyncio.to_thread",
    "BEE104": "subprocess. multiprocessing. os.system os.popen os.fork os.forkpty os.execl os.execle os.execlp os.execv os.execve "
    "os.execvp os.execvpe os.spawnl os.spawnle os.spawnlp os.spawnv os.spawnve os.spawnvp os.posix_spawn os.posix_spawnp os.kill "
    "os.startfile pty. concurrent.futures.ProcessPoolExecutor asyncio.create_subprocess_exec asyncio.create_subprocess_shell",
    "BEE105": "exec eval compile __import__ importlib.import_module importlib.reload importlib.util. importlib.machinery. "
    "importlib.__import__ sys.path sys.meta_path sys.path_hooks sys.modules runpy. imp. zipimport. code. codeop. types.CodeType "
    "types.FunctionType pickle.load pickle.loads marshal.load marshal.loads",
    "BEE106": "signal. mmap. ctypes. cffi. resource. fcntl. termios. atexit. gc.disable gc.enable gc.freeze gc.set_threshold "
    "multiprocessing.shared_memory. os.dup os.dup2 os.pipe os.nice os.sched_setaffinity weakref.finalize",
    "BEE107": "random.random random.randint random.randrange random.choice random.choices random.shuffle random.sample random.uniform "
    "random.gauss random.normalvariate random.expovariate random.betavariate random.triangular random.getrandbits random.seed "
    "random.getstate random.setstate random.randbytes random.SystemRandom numpy.random.seed numpy.random.rand numpy.random.randn "
    "numpy.random.random numpy.random.randint numpy.random.choice numpy.random.shuffle os.urandom secrets. uuid.uuid1 uuid.uuid4",
    "BEE108": "os.environ os.environb os.getenv os.putenv os.unsetenv os.getcwd os.chdir os.umask os.getpid os.getlogin os.uname "
    "os.cpu_count os.path.expanduser os.path.abspath os.path.realpath locale.setlocale locale.getlocale time.tzset "
    "platform. socket.gethostname getpass. pathlib.Path.home pathlib.Path.cwd",
    "BEE109": "sys.setrecursionlimit sys.settrace sys.setprofile sys.setswitchinterval sys.set_int_max_str_digits sys.addaudithook "
    "sys.excepthook sys.displayhook threading.settrace threading.setprofile faulthandler. warnings.simplefilter "
    "warnings.filterwarnings decimal.setcontext builtins.",
}
_EXACT = {name: code for code, names in _NAMES.items() for name in names.split() if not name.endswith(".")}
_PREFIX = {name: code for code, names in _NAMES.items() for name in names.split() if name.endswith(".")}
_BUILTINS = frozenset(name for name in _EXACT if "." not in name)
#: Methods of paths, in modules that import pathlib
_PATH_METHODS = frozenset(
    (
        "read_text",
        "write_text",
        "read_bytes",
        "write_bytes",
        "open",
        "unlink",
        "mkdir",
        "rmdir",
        "touch",
        "iterdir",
        "glob",
    )
)
#: Attributes that are harmless to read and not to write
_WRITTEN = {
    f"sys.{name}": "BEE109" for name in ("stdout", "stderr", "stdin", "ps1", "ps2", "argv", "tracebacklimit")
}
_NOQA = re.compile(r"#\s*noqa(?::\s*(?P<codes>[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    """One place where a bundle leaves the programming model."""

    path: str
    line: int
    column: int  #: from 1
    code: str
    message: str  #: what happens there

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column} {self.code} {self.message}"


def check(files: Iterable[Path]) -> list[Violation]:
    """Check modules, package directories, wheels and zips; sorted by path and line.

    Raises:
        UsageError: one of them does not exist, or is none of these.
    """
    found: list[Violation] = []
    for path in files:
        for name, source in sources(path):
            found += check_source(source, name)
    return sorted(found)


def sources(path: Path) -> Iterator[tuple[str, bytes]]:
    """The Python files of a bundle: ``(shown name, source)``. Raises UsageError."""
    if path.is_dir():
        for file in sorted(path.rglob("*.py")):
            parts = file.relative_to(path).parts
            if not any(part.startswith(".") or part == "__pycache__" for part in parts):
                yield str(file), file.read_bytes()
    elif path.suffix in (".whl", ".zip"):
        try:
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if name.endswith(".py"):
                        yield f"{path}/{name}", archive.read(name)
        except (OSError, zipfile.BadZipFile) as error:
            raise UsageError(f"cannot read {path}", why=str(error)) from None
    elif path.is_file() and path.suffix in (".py", ""):
        yield str(path), path.read_bytes()
    elif path.exists():
        raise UsageError(f"{path} is no bundle", hint="give a package directory, a module, a wheel or a zip")
    else:
        raise UsageError(
            f"{path} does not exist", hint="give a package directory, a module, a wheel or a zip"
        )


def check_source(source: bytes, path: str) -> list[Violation]:
    """Check one module."""
    try:
        tree = ast.parse(source, path)
    except (SyntaxError, ValueError) as error:
        line, column = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
        detail = getattr(error, "msg", None) or str(error)
        return [Violation(path, line, column, "BEE100", f"{MESSAGES['BEE100']}: {detail}")]
    visitor = _Visitor(path, tree)
    visitor.visit(tree)
    silenced = _silenced(source) if visitor.found else {}
    return [
        violation
        for violation in sorted(set(visitor.found))
        if (codes := silenced.get(violation.line)) is None or (codes and violation.code not in codes)
    ]


def _silenced(source: bytes) -> dict[int, frozenset[str]]:
    """Lines with a ``noqa``; an empty set silences every code."""
    found: dict[int, frozenset[str]] = {}
    try:
        for token in tokenize.tokenize(BytesIO(source).readline):
            match = _NOQA.search(token.string) if token.type == tokenize.COMMENT else None
            if match:
                codes = match.group("codes")
                found[token.start[0]] = (
                    frozenset(re.split(r"[,\s]+", codes.upper())) if codes else frozenset()
                )
    except (tokenize.TokenError, SyntaxError):
        pass  # ast accepted it; what was read so far counts
    return found


class _Visitor(ast.NodeVisitor):
    """Follows imported names to their dotted origin and looks these up."""

    def __init__(self, path: str, tree: ast.Module) -> None:
        self.path = path
        self.found: list[Violation] = []
        self.origins: dict[str, str] = {}  # local name -> dotted name
        self.bound: set[str] = set()  # builtins that the module uses as names of its own
        self.paths = False
        for node in ast.walk(tree):
            self._learn(node)

    def _learn(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    self.origins[alias.asname] = alias.name
                else:
                    top = alias.name.partition(".")[0]
                    self.origins[top] = top
                self.paths |= alias.name == "pathlib"
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                self.origins[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            self.paths |= node.module == "pathlib"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.bound.add(node.name)
        elif isinstance(node, ast.arg):
            self.bound.add(node.arg)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            self.bound.add(node.id)

    def report(self, node: ast.expr, code: str, name: str) -> None:
        self.found.append(
            Violation(self.path, node.lineno, node.col_offset + 1, code, f"{MESSAGES[code]} ({name})")
        )

    def dotted(self, node: ast.expr) -> str | None:
        """The dotted origin of a name or attribute chain; None if it is not an import or a builtin."""
        if isinstance(node, ast.Name):
            if node.id in self.origins:
                return self.origins[node.id]
            return node.id if node.id in _BUILTINS and node.id not in self.bound else None
        if isinstance(node, ast.Attribute):
            holder = self.dotted(node.value)
            return None if holder is None else f"{holder}.{node.attr}"
        return None

    def visit_Name(self, node: ast.Name) -> None:
        self._reference(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not self._reference(node):
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func
        if (
            self.paths
            and isinstance(called, ast.Attribute)
            and called.attr in _PATH_METHODS
            and self.dotted(called) is None
        ):
            self.report(called, "BEE101", f".{called.attr}()")
        self.generic_visit(node)

    def _reference(self, node: ast.Name | ast.Attribute) -> bool:
        """Look a chain up, longest first; whether it was an imported name at all."""
        name = self.dotted(node)
        if name is None:
            return False
        if not isinstance(node.ctx, ast.Load) and isinstance(node, ast.Attribute):
            code = _WRITTEN.get(name)
            if code is not None:
                self.report(node, code, f"writes {name}")
        parts = name.split(".")
        for length in range(len(parts), 0, -1):
            shorter = ".".join(parts[:length])
            code = _EXACT.get(shorter)
            if code is None and length < len(parts):
                code = _PREFIX.get(shorter + ".")
            if code is not None:
                self.report(node, code, name)
                break
        return True
