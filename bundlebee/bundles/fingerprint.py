"""A digest of the state that a call reads and nobody passes: module globals, with all that hangs on them.

The caller computes it from its modules, the worker from its own; if they differ, the call stays at the caller. So
a patched function, a filled table, a changed setting is noticed, whoever changed it and whenever.

What is compared of a value says `bundlebee.bundles.canonical`; whether all is still as it was, `bundlebee.bundles.steady`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import ModuleType

import msgspec

from bundlebee.bundles.absent import ABSENT, absent
from bundlebee.bundles.canonical import Encoder, Opaque
from bundlebee.bundles.numpy_catalogue import SETTINGS, THREADS, settings
from bundlebee.bundles.steady import Sights
from bundlebee.errors import BundlebeeError


class Unfingerprintable(BundlebeeError):
    """State that the call reads cannot be compared between machines. The call stays here.

    Attributes:
        name: the global, as ``module.name``.
    """

    def __init__(self, name: str, why: str | None = None, hint: str | None = None) -> None:
        super().__init__(f"{name} cannot be compared with the worker's", why=why, hint=hint)
        self.name = name

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.name, self.why, self.hint)


class State(msgspec.Struct, frozen=True):
    """The state behind a call, at one moment."""

    digest: bytes  #: 16 bytes; equal there and here, or the call may not be shipped
    #: ids of the mutable objects in it; an argument among them must not travel as a copy
    objects: frozenset[int]


class Remembered:
    """The fingerprint of some globals, made anew only where something has changed."""

    __slots__ = ("_last", "reads")

    def __init__(self, reads: Sequence[tuple[str, str]]) -> None:
        self.reads = reads
        self._last: tuple[Sights, State] | None = None  # one object, since any thread may ask

    def state(self) -> State:
        """As the function `state`, of ``sys.modules``; the same object as long as nothing has changed."""
        last = self._last
        if last is not None and last[0].still():
            return last[1]
        self._last = None  # nobody's objects are held while others are looked at
        sights = Sights()
        found = state(self.reads, modules=sys.modules, sights=sights)
        self._last = (sights, found) if sights.steady else None
        return found


def fingerprint(reads: Sequence[tuple[str, str]], *, modules: Mapping[str, ModuleType]) -> bytes:
    """The digest of those globals.

    Args:
        reads: ``(module, global name)``, sorted, as in `Summary.reads`.
        modules: ``sys.modules``. A module or a name that is missing is part of the state.

    Raises:
        Unfingerprintable: one of them holds something that cannot be compared, or is too large.
    """
    return state(reads, modules=modules).digest


def state(
    reads: Sequence[tuple[str, str]], *, modules: Mapping[str, ModuleType], sights: Sights | None = None
) -> State:
    """As `fingerprint`, with the identities of the mutable objects that were met.

    Args:
        sights: takes down what was seen, to tell later whether it is still so.
    """
    sights = sights or Sights()
    encoder = Encoder(sights)
    for module_name, name in reads:
        module = modules.get(module_name)
        encoder.write("read", module_name, name)
        if name == ABSENT:
            sights.equal(absent, module_name)
            encoder.write(str(absent(module_name)))
            continue
        sights.key(modules, module_name, *(() if module is None else (module,)))  # type: ignore[arg-type]
        if module is None:
            encoder.write("no module")
            continue
        holder = module.__dict__
        if module_name == "numpy" and name in (SETTINGS, THREADS):
            texts = settings(name)
            if texts is None:
                raise Unfingerprintable("numpy.set_printoptions", why="a formatter is a function")
            sights.equal(settings, name)
            encoder.write(*texts)
            continue
        sights.key(holder, name, *((holder[name],) if name in holder else ()))
        if name not in holder:
            encoder.write("missing")
            continue
        try:
            if module_name.partition(".")[0] in sys.stdlib_module_names and module_name != "__main__":
                encoder.attempt(holder[name])  # its scanners and locks are of no program's making
            else:
                encoder.value(holder[name])
        except Opaque as opaque:
            raise Unfingerprintable(f"{module_name}.{name}", why=str(opaque)) from None
        except RecursionError:
            raise Unfingerprintable(f"{module_name}.{name}", why="it is nested too deeply") from None
    return State(encoder.digest(), frozenset(encoder.mutable))
