"""The effect guard: stops a shipped call *before* it does what only means the same at the caller.

An audit hook (PEP 578) that is active only while a shipped call runs. It raises before the file is opened,
the socket connected, the thread or process started: nothing has happened yet, so the caller can run the
call itself. The error derives from `BaseException`, so that ``except Exception`` in the program does not
take it for its own; and the guard remembers that it stepped in, so that even a bare ``except:`` cannot make
a wrong result of it.

Imports may read their files; an audit hook cannot be removed, so there is one for the process.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

from bundlebee.frames import getframe

_STOPPED_EVENTS = frozenset(
    """
    builtins.input builtins.breakpoint os.system os.exec os.fork os.forkpty os.posix_spawn os.spawn
    os.startfile subprocess.Popen pty.spawn _thread.start_new_thread _thread.start_joinable_thread
    _posixsubprocess.fork_exec _winapi.CreateProcess os.remove os.rename os.mkdir os.rmdir os.link
    os.symlink os.truncate os.chmod os.chown os.chflags os.lchflags os.utime os.chdir os.fchdir
    os.chroot os.putenv os.unsetenv os.kill os.killpg os.lockf os.listdir os.scandir os.listxattr
    os.getxattr os.setxattr os.removexattr os.add_dll_directory glob.glob pathlib.Path.glob
    pathlib.Path.rglob shutil.copyfile shutil.copymode shutil.copystat shutil.copytree shutil.move
    shutil.rmtree shutil.chown shutil.make_archive shutil.unpack_archive tempfile.mkstemp
    tempfile.mkdtemp signal.pthread_kill signal.signal faulthandler.register mmap.__new__
    fcntl.fcntl fcntl.flock fcntl.ioctl fcntl.lockf resource.setrlimit resource.prlimit
    syslog.openlog syslog.syslog syslog.closelog syslog.setlogmask sqlite3.connect dbm.open
    ctypes.dlopen ctypes.dlsym ctypes.call_function ctypes.string_at urllib.Request
    http.client.connect http.client.send ftplib.connect smtplib.connect imaplib.open poplib.connect
    telnetlib.Telnet.open nntplib.connect webbrowser.open msvcrt.locking winreg.ConnectRegistry
    winreg.CreateKey winreg.OpenKey winreg.SetValue winreg.DeleteKey winreg.DeleteValue
    sys.addaudithook sys.settrace sys.setprofile sys.remote_exec cpython.run_command
    cpython.run_file os.listdrives os.listmounts os.listvolumes
    """.split()  # noqa: SIM905
)

_WORDS = {
    "open": "opens {0!r}",
    "subprocess.Popen": "starts the process {0!r}",
    "os.system": "starts the process {0!r}",
    "_thread.start_new_thread": "starts a thread",
    "_thread.start_joinable_thread": "starts a thread",
    "os.fork": "forks",
}


WARNS = "warns"
"""What it says of a call that issues a warning: whether and how that is shown is up to the caller's filters."""

_UNSEEN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)  # unless asked for


class GuardStop(BaseException):
    """Raised in the middle of a shipped call, at the place that would have had an effect."""


class Guard:
    """The guard of a worker's process, or (`ThreadGuard`) of a worker that is a thread.

    Attributes:
        thread: where calls run; our own other threads may do as they like.
        active: True while a shipped call runs.
        tripped: what it has stopped, or None.
    """

    __slots__ = ("_shown", "active", "thread", "tripped")

    def __init__(self) -> None:
        self.thread = threading.main_thread().ident
        self.active = False
        self.tripped: str | None = None
        self._shown: Any = None  # how warnings are shown, and the filters

    def watch_warnings(self) -> None:
        """From now on a call that warns is stopped; the interpreter itself warns, too, and so do libraries written in C."""
        if self._shown is None:
            self._shown = warnings.showwarning, warnings.filters[:]
            warnings.simplefilter("always")
            warnings.showwarning = self._warned

    def leave_warnings(self) -> None:
        """Tasks may warn: what they write there is shown."""
        if self._shown is not None:
            warnings.showwarning, filters = self._shown
            warnings.resetwarnings()
            warnings.filters[:] = filters  # type: ignore[index]
            self._shown = None

    def _warned(self, message: Any, category: type[Warning], *more: Any, **named: Any) -> None:
        self.stop(WARNS)
        if self._shown is not None and not issubclass(category, _UNSEEN):
            self._shown[0](message, category, *more, **named)

    def install(self) -> None:
        """Add the audit hook; it stays for the life of the process."""
        sys.addaudithook(self._hook)
        if sys.version_info < (3, 12):
            _watch_threads(self.stop)

    def stop(self, what: str) -> None:
        """Stop the call if it is one that asks."""
        if self.active and threading.get_ident() == self.thread:
            if self.tripped is None:
                self.tripped = what
            raise GuardStop(what)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.active or threading.get_ident() != self.thread:
            return
        self.audit(event, args)

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        """A shipped call does something: stop it if that may not be."""
        if event == "open" or event in _STOPPED_EVENTS or event.startswith("socket."):
            if event in ("open", "os.listdir", "os.scandir") and _importing():
                return
            words = _WORDS.get(event)
            try:
                self.stop(words.format(*args) if words else f"does {event}")
            except (IndexError, ValueError):
                self.stop(f"does {event}")


class ThreadGuard(Guard):
    """One of several in a process that is the program's own, too. It leaves warnings alone: filters are the caller's.

    The audit hook stays for the life of the process, and looks no further than whether a guard is active.
    """

    __slots__ = ()

    _guards: ClassVar[dict[int, ThreadGuard]] = {}
    _installed: ClassVar[bool] = False

    def watch_warnings(self) -> None:
        pass

    def leave_warnings(self) -> None:
        pass

    def install(self) -> None:
        """Guard the calling thread, until `remove`."""
        self.thread = threading.get_ident()
        self._guards[self.thread] = self
        if not ThreadGuard._installed:
            ThreadGuard._installed = True
            sys.addaudithook(_audit)
            if sys.version_info < (3, 12):
                _watch_threads(_stop)

    def remove(self) -> None:
        """The thread ends."""
        if self.thread is not None:
            self._guards.pop(self.thread, None)


def guard_here() -> ThreadGuard | None:
    """The guard of the calling thread, while a shipped call runs in it."""
    guard = ThreadGuard._guards.get(threading.get_ident())
    return guard if guard is not None and guard.active else None


def _audit(event: str, args: tuple[Any, ...]) -> None:
    guard = guard_here()
    if guard is not None:
        guard.audit(event, args)


def _stop(what: str) -> None:
    guard = guard_here()
    if guard is not None:
        guard.stop(what)


def _watch_threads(stop: Callable[[str], None]) -> None:
    """Python 3.11 has no audit event for the start of a thread."""
    import _thread

    start = _thread.start_new_thread

    def start_new_thread(*args: Any, **kwargs: Any) -> int:
        stop("starts a thread")
        return start(*args, **kwargs)

    for module, name in (
        (_thread, "start_new_thread"),
        (_thread, "start_new"),
        (threading, "_start_new_thread"),
    ):
        setattr(module, name, start_new_thread)


def _importing() -> bool:
    """Whether the import machinery itself asks, rather than the code of a module that is being imported."""
    frame = getframe(3)
    file = frame.f_code.co_filename
    return file.startswith(("<frozen importlib", "<frozen zipimport"))


guard = Guard()
