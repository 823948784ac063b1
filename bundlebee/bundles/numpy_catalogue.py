"""What NumPy does: `numpy.toml`, ready for look-up by the very objects that the program uses.

Nothing here imports NumPy: a program that has not done so has none of its objects.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from types import BuiltinFunctionType, ModuleType
from typing import Any

import msgspec

SETTINGS = "<settings>"
"""Name of a global that stands for all that changes what NumPy computes or prints; see `settings`."""
THREADS = "<threads>"
"""The same for how many threads its linear algebra runs on."""


class NumpyFunction(msgspec.Struct, frozen=True):
    """One catalogued function, or method."""

    name: str
    returns: str  #: a word of the data file; ``writes`` for what returns nothing
    writes: int | None = None  #: position of the argument that it writes
    out: int | None = None  #: position of its `out`, if it may be passed by position
    outs: bool = False  #: what is passed behind that is written, too
    copy: int | None = None  #: position from which on it may be told not to copy
    overwrites: int | None = None  #: position at which it may be told to write its first argument
    threads: bool = False


class NumpyCatalogue:
    """Look-up by identity.

    Attributes:
        array, ufunc: NumPy's types.
        methods, attributes: of arrays, by name.
    """

    def __init__(self, numpy: ModuleType, data: dict[str, Any]) -> None:
        self.array: type = numpy.ndarray
        self.ufunc: type = numpy.ufunc
        self.generic: type = numpy.generic
        self._functions: dict[int, NumpyFunction] = {}
        self._keep: list[Any] = []  # so that ids stay theirs
        threads = {f"numpy.{name}" for name in data["threads"][""]}
        for word, modules in data["functions"].items():
            for module, names in modules.items():
                if word == "writes":
                    self._add(numpy, module, NumpyFunction(f"numpy.{module}", "writes", writes=names))
                    continue
                for name in names:
                    path = f"{module}.{name}" if module else name
                    full = f"numpy.{path}"
                    self._add(
                        numpy, path, NumpyFunction(full, word, threads=full in threads or module == "linalg")
                    )
        for name in dir(numpy):
            thing = numpy.__dict__.get(name)
            if isinstance(thing, self.ufunc):
                full = f"numpy.{name}"
                self._add(
                    numpy,
                    name,
                    NumpyFunction(full, "array", out=thing.nin, outs=True, threads=full in threads),
                )
        for name in data["numbers"]["types"]:
            self._add(numpy, name, NumpyFunction(f"numpy.{name}", "array"))
        for name in data["random"]["makers"]:
            self._add(numpy, f"random.{name}", NumpyFunction(f"numpy.random.{name}", "generator"))
        random = sys.modules.get("numpy.random")
        self.generators: tuple[type, ...] = tuple(
            kind for name in data["random"]["types"] if isinstance(kind := getattr(random, name, None), type)
        )
        self.draws = dict.fromkeys(data["random"]["draws"], False) | dict.fromkeys(
            data["random"]["shuffles"], True
        )
        self.methods: dict[str, NumpyFunction] = {}
        for word, names in data["methods"].items():
            for name in names:
                known = NumpyFunction(f"numpy.ndarray.{name}", word, threads=name == "dot")
                self.methods[name] = _placed(known, _METHODS.get(name, ()))
        self.attributes: dict[str, str] = {
            name: word for word, names in data["attributes"].items() for name in names
        }
        self._of_ufuncs = frozenset(data["ufuncs"]["array"])

    def _add(self, numpy: ModuleType, path: str, entry: NumpyFunction) -> None:
        thing: Any = numpy
        *inside, name = path.split(".")
        for part in inside:
            thing = sys.modules.get(f"numpy.{part}")  # some are loaded when they are asked for
        thing = getattr(thing, "__dict__", {}).get(name)
        if thing is None or id(thing) in self._functions:
            return
        if entry.out is None and entry.returns != "generator":
            entry = _placed(entry, _parameters(thing))
        self._functions[id(thing)] = entry
        self._keep.append(thing)

    def function(self, thing: Any) -> NumpyFunction | None:
        """What that very object does, or None if the catalogue does not know it."""
        found = self._functions.get(id(thing))
        if (
            found is None
            and isinstance(thing, BuiltinFunctionType)
            and isinstance(thing.__self__, self.ufunc)
        ):
            of = self._functions.get(id(thing.__self__))
            if of is not None and thing.__name__ in self._of_ufuncs:
                known = NumpyFunction(f"{of.name}.{thing.__name__}", "array", threads=of.threads)
                return _placed(known, _OF_UFUNCS[thing.__name__])
        return found

    def is_number(self, kind: type) -> bool:
        """Whether it is a type of NumPy's own numbers and texts."""
        return issubclass(kind, self.generic) and kind.__module__ == "numpy"


#: Names of parameters by position, where NumPy's own objects do not tell
_METHODS = {
    "sum": ("axis", "dtype", "out"), "prod": ("axis", "dtype", "out"), "cumsum": ("axis", "dtype", "out"),
    "cumprod": ("axis", "dtype", "out"), "mean": ("axis", "dtype", "out"), "std": ("axis", "dtype", "out"),
    "var": ("axis", "dtype", "out"), "min": ("axis", "out"), "max": ("axis", "out"), "ptp": ("axis", "out"),
    "argmin": ("axis", "out"), "argmax": ("axis", "out"), "any": ("axis", "out"), "all": ("axis", "out"),
    "take": ("indices", "axis", "out"), "compress": ("condition", "axis", "out"), "choose": ("choices", "out"),
    "dot": ("b", "out"), "trace": ("offset", "axis1", "axis2", "dtype", "out"), "round": ("decimals", "out"),
    "astype": ("dtype", "order", "casting", "subok", "copy"), "clip": ("min", "max", "out"),
    "conj": ("out",), "conjugate": ("out",),
}  # fmt: skip
_OF_UFUNCS: dict[str, Sequence[str]] = {
    "accumulate": ("array", "axis", "dtype", "out"),
    "outer": (),
    "reduce": ("array", "axis", "dtype", "out"),
    "reduceat": ("array", "indices", "axis", "dtype", "out"),
}
_FUNCTIONS: dict[str, Sequence[str]] = {
    "dot": ("a", "b", "out"),
    "concatenate": ("arrays", "axis", "out"),
    "concat": ("arrays", "axis", "out"),
}


def _parameters(function: Any) -> Sequence[str]:
    """Names of the parameters that may be passed by position."""
    import inspect  # NumPy has loaded it, and a program without NumPy need not

    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return _FUNCTIONS.get(getattr(function, "__name__", ""), ())
    return [name for name, one in parameters.items() if one.kind is not one.KEYWORD_ONLY]


def _placed(entry: NumpyFunction, names: Sequence[str]) -> NumpyFunction:
    """With the positions of parameters that matter."""
    copies = [names.index(name) for name in ("copy", "subok") if name in names]
    return msgspec.structs.replace(
        entry,
        out=names.index("out") if "out" in names else None,
        copy=min(copies) if copies else None,
        overwrites=names.index("overwrite_input") if "overwrite_input" in names else None,
    )


def numpy_catalogue() -> NumpyCatalogue | None:
    """The catalogue, if the program uses NumPy."""
    numpy = sys.modules.get("numpy")
    if numpy is None or getattr(numpy, "ndarray", None) is None or not hasattr(numpy, "linalg"):
        return None  # or it is being imported
    return _made(numpy, tuple(f"numpy.{name}" in sys.modules for name in ("fft", "linalg", "random")))


@functools.lru_cache(1)
def _made(numpy: ModuleType, _loaded: tuple[bool, ...]) -> NumpyCatalogue:
    from bundlebee.bundles.catalogue import read
    from bundlebee.places import user_directory

    file = Path(__file__).with_name("numpy.toml")
    return NumpyCatalogue(numpy, read(file, Path(user_directory("cache"))))


def name_in_numpy(thing: Any) -> str | None:
    """The name of a function of NumPy's: the same wherever there is NumPy."""
    catalogue = numpy_catalogue()
    found = None if catalogue is None else catalogue.function(thing)
    return None if found is None else found.name


def settings(name: str) -> list[str] | None:
    """What `SETTINGS` or `THREADS` stand for, at this moment, in this process; None for any other name.

    Numbers are rounded alike where version, processor and settings are alike; so nothing is shipped between two that differ.
    """
    numpy = sys.modules.get("numpy")
    if name not in (SETTINGS, THREADS) or numpy is None:
        return None
    if name == THREADS:
        return _threads(numpy)
    options = dict(numpy.get_printoptions())
    if options.get("formatter"):
        return None
    errors = sorted(numpy.geterr().items())
    return [
        str(numpy.__version__),
        _features(numpy),
        repr(errors),
        repr(numpy.geterrcall()),
        repr(numpy.getbufsize()),
        repr(sorted(options.items(), key=lambda item: item[0])),
    ]


@functools.lru_cache(1)
def _features(numpy: ModuleType) -> str:
    for name in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        features = getattr(sys.modules.get(name), "__cpu_features__", None)
        if features is not None:
            return ",".join(sorted(feature for feature, there in features.items() if there))
    import platform

    return f"{platform.machine()} {platform.processor()}"


def _threads(numpy: ModuleType) -> list[str]:
    import os

    from bundlebee.platform import usable_cpus

    names = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
             "BLIS_NUM_THREADS", "OPENBLAS_CORETYPE", "MKL_CBWR")  # fmt: skip
    config = getattr(getattr(numpy, "__config__", None), "CONFIG", {})
    blas = config.get("Build Dependencies", {}).get("blas", {})
    return [
        str(usable_cpus()),
        *[f"{name}={os.environ.get(name)}" for name in names],
        str(blas.get("name")),
        str(blas.get("version")),
    ]
