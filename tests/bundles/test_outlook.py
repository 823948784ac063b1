"""What is to be expected of calls, before there is one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest

from bundlebee.bundles.effects import EffectAnalysis
from bundlebee.bundles.facts import ModuleFacts, facts_of_source
from bundlebee.bundles.outlook import Judgement, Outlook, judge

SOURCE = """\
import asyncio, re, threading

SEEN = []
LOCK = threading.Lock()
PATTERN = re.compile("a")


def square(x):
    return x * x


def say(x):
    print(x)


def fill(rows, x):
    rows.append(x)
    return rows


def note(x):
    SEEN.append(x)


def read(path):
    return open(path).read()


def through(path):
    return square(len(read(path)))


def apply(f, x):
    return f(x)


def look(x, name):
    return getattr(x, name)


def look_and_note(x, name):
    SEEN.append(getattr(x, name))


async def look_later(x, name):
    return getattr(x, name)


def raised(n, step=2):
    n += step
    return n


def raised_and_filled(n, rows):
    n += 1
    rows.append(n)


def more(*numbers, **named):
    numbers[0].append(1)


def asks_for(item):
    return item.volume()


def locked():
    return LOCK


def values(n):
    yield n


async def wait(n):
    return n


async def wait_twice(n):
    return await wait(n) + await wait(n)


async def fill_later(rows, n):
    rows.append(await wait(n))


async def say_later(n):
    print(await wait(n))


async def sleeps(n):
    await asyncio.sleep(n)


async def sleeps_below(n):
    return await sleeps(await wait(n))


async def numbers(n):
    yield n


class Box:
    made = 0

    def __init__(self, edge):
        self.edge = edge

    def volume(self):
        return self.edge**3

    def grow(self):
        self.edge += 1

    @property
    def half(self):
        return self.edge / 2

    @classmethod
    def unit(cls):
        return cls.__name__

    @classmethod
    def count(cls):
        cls.made += 1

    @staticmethod
    def twice(x):
        return 2 * x


class Counting(Box):
    def volume(self):
        SEEN.append(self)
        return 1


class Sealed:
    def __del__(self):
        pass

    def name(self):
        return "sealed"
"""


@pytest.fixture(scope="module")
def module() -> Iterator[ModuleType]:
    made = ModuleType("outlook_sample")
    made.__file__ = "outlook_sample.py"
    sys.modules["outlook_sample"] = made
    exec(compile(SOURCE, "outlook_sample.py", "exec", dont_inherit=True), made.__dict__)
    yield made
    del sys.modules["outlook_sample"]


@pytest.fixture(scope="module")
def analysis(module: ModuleType) -> EffectAnalysis:
    facts: dict[str, ModuleFacts] = {"outlook_sample": facts_of_source(SOURCE, "outlook_sample")}
    return EffectAnalysis(facts.get)


def outlook(analysis: EffectAnalysis, module: ModuleType, name: str) -> Judgement:
    found: Any = module
    for part in name.split("."):
        found = vars(found)[part]
    found = getattr(found, "fget", getattr(found, "__func__", found))
    assert isinstance(found, FunctionType)
    return judge(analysis, found)


@pytest.mark.parametrize(
    ("name", "state", "kind"),
    [
        ("square", Outlook.SHIPS, ""),
        ("say", Outlook.SHIPS, ""),
        ("fill", Outlook.SHIPS, ""),
        ("more", Outlook.SHIPS, ""),
        ("note", Outlook.STAYS, "writes module state"),
        ("read", Outlook.STAYS, "I/O"),
        ("through", Outlook.STAYS, "I/O"),
        ("apply", Outlook.DEPENDS, "calls its argument"),
        ("look", Outlook.GUARDED, "attribute by a computed name"),
        ("look_and_note", Outlook.STAYS, "attribute by a computed name"),
        ("look_later", Outlook.STAYS, "attribute by a computed name"),
        ("raised", Outlook.SHIPS, ""),
        ("raised_and_filled", Outlook.SHIPS, ""),
        ("asks_for", Outlook.DEPENDS, "writes module state"),
        ("locked", Outlook.STAYS, "identity"),
        ("values", Outlook.STAYS, "generator"),
        ("wait", Outlook.SHIPS, ""),
        ("wait_twice", Outlook.SHIPS, ""),
        ("fill_later", Outlook.STAYS, "seen by other tasks"),
        ("say_later", Outlook.STAYS, "seen by other tasks"),
        ("sleeps", Outlook.STAYS, "event loop"),
        ("sleeps_below", Outlook.STAYS, "event loop"),
        ("numbers", Outlook.STAYS, "generator"),
        ("Box.__init__", Outlook.SHIPS, ""),
        ("Box.grow", Outlook.SHIPS, ""),
        ("Box.half", Outlook.SHIPS, ""),
        ("Box.unit", Outlook.SHIPS, ""),
        ("Box.count", Outlook.STAYS, "writes module state"),
        ("Box.twice", Outlook.SHIPS, ""),
        ("Sealed.name", Outlook.STAYS, "object cannot travel"),
    ],
)
def test_outlook(analysis: EffectAnalysis, module: ModuleType, name: str, state: Outlook, kind: str) -> None:
    found = outlook(analysis, module, name)
    assert (found.outlook, found.kind) == (state, kind), found.why


def test_the_reason_has_its_chain_and_its_place(analysis: EffectAnalysis, module: ModuleType) -> None:
    found = outlook(analysis, module, "through")
    line = SOURCE.splitlines().index("    return open(path).read()") + 1
    assert found.chain
    assert found.why.startswith("read: opens a local file")
    assert found.why.endswith(f"(outlook_sample.py:{line})")
    assert not outlook(analysis, module, "read").chain
    assert "outlook_sample.py:" in outlook(analysis, module, "Sealed.name").why


def test_printing_is_told(analysis: EffectAnalysis, module: ModuleType) -> None:
    assert outlook(analysis, module, "say").prints
    assert not outlook(analysis, module, "square").prints
