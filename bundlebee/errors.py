"""Every error that bundlebee raises: one root, a shallow tree.

A message says what happened, why, and what to do next. The three parts are kept apart so that the command
line can print them on lines of their own and programs can read them.
"""

from __future__ import annotations

LONGEST = 10_000  #: characters that an exception of the program may add to a message


def told(error: BaseException) -> str:
    """An exception of the program, for a message: its kind, and what it says, if its ``__str__`` does not raise."""
    kind = type(error).__name__
    try:
        return encodable(f"{kind}: {error}"[:LONGEST])
    except Exception:
        return kind


def encodable(text: str) -> str:
    """Text as it can be sent: a file's name, for example, may have bytes that are no character."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


class BundlebeeError(Exception):
    """The root. Catch this to catch everything that bundlebee itself raises.

    Args:
        what: what happened, a clause without a full stop.
        why: the cause, where it is known.
        hint: the next step for the person who reads it.
    """

    def __init__(self, what: str, *, why: str | None = None, hint: str | None = None) -> None:
        self.what = what
        self.why = why
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        text = self.what if self.why is None else f"{self.what}: {self.why}"
        return text if self.hint is None else f"{text} ({self.hint})"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.why, self.hint)


def _rebuild(kind: type[BundlebeeError], what: str, why: str | None, hint: str | None) -> BundlebeeError:
    return kind(what, why=why, hint=hint)


# -- what a person asked for cannot be done as asked ------------------------------------------------------


class UsageError(BundlebeeError):
    """An option, an argument or an environment variable is wrong. The command exits with 2."""


class ConfigurationError(BundlebeeError):
    """What was asked for is well formed, but this machine does not allow it. The command exits with 1."""


class KeyFileError(ConfigurationError):
    """The grid key cannot be read, is malformed, or is readable by others."""


class InterfaceError(ConfigurationError):
    """The network interface does not exist or has no usable address."""


class PortInUse(ConfigurationError):
    """Another process listens on the port that was asked for."""


# -- bundles ------------------------------------------------------------------------------------------------


class BundleError(BundlebeeError):
    """A bundle cannot be used. It is left alone; everything else goes on."""


class BrokenBundle(BundleError):
    """A file that should be a bundle cannot be read as one (damaged wheel, syntax error, compiled code)."""


class BundleConflict(BundleError):
    """Two bundles claim the same import name; the one that was there first keeps it."""


class MissingDependency(BundleError):
    """A distribution that the bundle requires is neither installed here nor held by the grid."""


class BundleNotFound(BundleError):
    """Nobody holds the bundle."""


class DigestMismatch(BundleError):
    """The bytes that arrived are not the bytes that the digest names. They were thrown away."""


# -- weaving ------------------------------------------------------------------------------------------------


class WeaveError(BundlebeeError):
    """A module cannot be woven. It is loaded plain."""


# -- calls --------------------------------------------------------------------------------------------------


class CallError(BundlebeeError):
    """A call could not be shipped or did not come back."""


class Unshippable(CallError):
    """An argument or a result cannot travel. The message names it by its path, as in ``args[0].lock``."""


class PeerLost(CallError):
    """The peer died, or the network between it and us did, while we needed it."""


class WorkerLost(PeerLost):
    """The worker died by itself in the middle of our call; its node is well, and has another one. The message says how."""


class EnvironmentDiffers(CallError):
    """The peer has other versions of what a bundle needs. It may serve other bundles."""


class PeerBusy(CallError):
    """The peer has no free worker slot. It is healthy; ask again later."""


class CallTimeout(CallError):
    """The deadline passed. The call may still be running there."""


class Refused(CallError):
    """The worker declined the call before any of it ran; it may safely run here."""


class UnknownFunction(CallError):
    """There is no such module, or no such function in it."""


class ProtocolError(CallError):
    """Bytes arrived that do not follow the wire format. The connection is dropped."""
