"""What can be said about a module's functions without running anything: the input of the effect analysis.

Each function is lowered to a short list of *operations* over numbered registers. The order of the operations
and control flow are forgotten, but for what tests say of variables (`bundlebee.bundles.branches`): the analysis asks what a
function may do, not when. Register 0 holds every immutable value that the function makes itself (texts, bytes); the
parameters and other local variables come next, then temporaries. An operation is a tuple, its code first, then the line:

    ("name",  line, dst, name)                    a module global or a builtin
    ("free",  line, dst, name)                    a variable of an enclosing function
    ("setfree", line, name, src)                  … and a write to it
    ("number", line, dst)                         the numbers that the function writes down
    ("const", line, dst, text)                    a string constant whose text matters (an attribute's name)
    ("copy",  line, dst, src)
    ("nothing", line, dst)                        None
    ("none",  line, dst, src)                     src where ``src is None``
    ("some",  line, dst, src)                     src where it is not None
    ("same",  line, dst, src, other)              src where ``src is other``
    ("kind",  line, dst, src, function, classes, sense)   src where ``isinstance(src, classes)`` is sense; function: what
                                                  is called so; classes: registers of one, or of the parts of a tuple
    ("only",  line, dst, src, count)              the next operations are done only where something of src is left in dst
    ("attr",  line, dst, object, name)            object.name
    ("item",  line, dst, object, index)           object[index]
    ("slice", line, dst, object)                  object[a:b]
    ("iter",  line, dst, object)                  one of what iterating over object gives
    ("mapping", line, object)                     ``{**object}``: its keys are asked for
    ("call",  line, dst, function, args, named)   args: registers, ``-1 - r`` for ``*r``; named: (name or None for **, register)
    ("op",    line, dst, name, left, right)       a binary operator; name as in ``__name__``
    ("iop",   line, dst, name, left, right)       its in-place form
    ("unary", line, dst, name, operand)
    ("compare", line, dst, name, left, right)
    ("in",    line, item, container)
    ("is",    line, left, right)
    ("truth", line, operand)                      if, while, and, or, not, assert
    ("text",  line, operand)                      formatted into an f-string
    ("new",   line, dst, type, registers)         a display: list, tuple, set, dict, or ``iterator`` for a generator expression
    ("setattr", line, object, name, value)        and ("delattr", line, object, name)
    ("setitem", line, object, index, value)       and ("delitem", line, object, index)
    ("return", line, value)   ("yield", line, value)   ("raise", line, value)   ("caught", line, dst)   ("failure", line, dst)
    ("await", line, dst, awaitable)
    ("function", line, dst, index, defaults)      a nested function or lambda; index into the module's functions; (parameter, register)
    ("import", line, dst, module, attribute, level)
    ("super", line, dst)                          super() without arguments
    ("bad",   line, reason)                       something that is unsafe whatever the operands

The facts of a module travel through the weaver's cache as bytes. Decoding touches only an index; a function's
own operations are decoded when somebody asks for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import ast

VERSION = 8
"""Of the format. Facts of another version are not decoded."""

PLAIN, GENERATOR, COROUTINE, ASYNC_GENERATOR = 0, 1, 2, 3


class FunctionFacts(msgspec.Struct, frozen=True, array_like=True):
    """One function, lowered."""

    qualname: str  #: as in ``__qualname__``
    line: int  #: as in ``co_firstlineno``: of the first decorator, where there is one
    kind: int  #: PLAIN, GENERATOR, COROUTINE or ASYNC_GENERATOR
    positional: tuple[str, ...]  #: positional parameters; they have the registers 1, 2, …
    keyword_only: tuple[str, ...]  #: with the next registers
    star: str | None  #: name of ``*args``, its register follows
    double_star: str | None  #: name of ``**kwargs``, its register follows
    variables: dict[str, int]  #: register of each parameter and local variable
    free: tuple[str, ...]  #: variables of enclosing functions that it uses
    size: int  #: number of registers
    operations: tuple[tuple[Any, ...], ...]


class _Encoded(msgspec.Struct, frozen=True, array_like=True):
    version: int
    module: str
    index: dict[str, list[int]]
    functions: list[msgspec.Raw]


class ModuleFacts:
    """The functions of one module: methods, nested functions and lambdas included."""

    __slots__ = ("_decoded", "_functions", "_index", "module")

    def __init__(self, module: str, index: dict[str, list[int]], functions: list[msgspec.Raw]) -> None:
        self.module = module
        self._index = index
        self._functions = functions
        self._decoded: dict[int, FunctionFacts] = {}

    def __len__(self) -> int:
        return len(self._functions)

    def __getitem__(self, position: int) -> FunctionFacts:
        """The function with that number. Raises IndexError."""
        facts = self._decoded.get(position)
        if facts is None:
            facts = _FUNCTION.decode(self._functions[position])
            self._decoded[position] = facts
        return facts

    def find(self, qualname: str, line: int) -> tuple[int, ...]:
        """Numbers of the functions with that ``co_qualname`` and ``co_firstlineno``; more than one if they share a line."""
        return tuple(self._index.get(f"{qualname}:{line}", ()))

    def qualnames(self) -> list[str]:
        """Of all functions, in the order of the source."""
        return [self[position].qualname for position in range(len(self))]


_FUNCTION = msgspec.msgpack.Decoder(FunctionFacts)
_MODULE = msgspec.msgpack.Decoder(_Encoded)
_ENCODER = msgspec.msgpack.Encoder()


def collect(tree: ast.Module, module: str) -> ModuleFacts:
    """Lower every function of a module's (original, unwoven) tree."""
    from bundlebee.bundles.lowering import lower

    functions = lower(tree)
    index: dict[str, list[int]] = {}
    for position, facts in enumerate(functions):
        index.setdefault(f"{facts.qualname}:{facts.line}", []).append(position)
    return ModuleFacts(module, index, [msgspec.Raw(_ENCODER.encode(facts)) for facts in functions])


def encode(facts: ModuleFacts) -> bytes:
    """Pack for the cache."""
    return _ENCODER.encode(_Encoded(VERSION, facts.module, facts._index, facts._functions))


def decode(data: bytes) -> ModuleFacts:
    """Unpack what `encode` made.

    Raises:
        ValueError: the bytes are damaged, or of another version.
    """
    try:
        packed = _MODULE.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"damaged facts: {error}") from error
    if packed.version != VERSION:
        raise ValueError(f"facts of version {packed.version}, not {VERSION}")
    return ModuleFacts(packed.module, packed.index, packed.functions)


def facts_of_source(source: bytes | str, module: str) -> ModuleFacts:
    """Parse and lower, for modules that were not woven. Raises SyntaxError."""
    import ast

    return collect(ast.parse(source), module)
