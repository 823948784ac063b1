from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlebee.calls import pickling

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.tuples(inner)
    ),
    max_leaves=20,
)


@given(plain)
def test_round_trip(value: Any) -> None:
    assert pickling.loads(pickling.dumps(value)) == value


class Cloud:
    """A buffer provider, as an array is."""

    def __init__(self, data: bytearray) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        import pickle

        return Cloud, (pickle.PickleBuffer(self.data),)


def test_large_buffers_travel_on_their_own_and_small_ones_inside() -> None:
    large, small = bytearray(1 << 20), bytearray(100)
    frames = pickling.dumps([Cloud(large), Cloud(small)])
    assert len(frames) == 2 and len(frames[0]) < 1000
    assert frames[1].obj is large  # not copied
    received = [bytes(frames[0]), memoryview(bytearray(frames[1]))]
    one, two = pickling.loads(received)
    one.data[0] = 7  # writable, as it was
    assert bytes(two.data) == bytes(small)


GARBAGE = """
import gc
from bundlebee.bundles.replicas import TABLE
from bundlebee.calls.pickling import dumps, dumps_referring, dumps_whole

item = (), {}
plainly = dumps([1])
TABLE[complex] = lambda value: (complex, (value.real, value.imag))
for frames in plainly, dumps([1]), dumps_referring([1], item), [dumps_whole([1])]:
    frames.append(frames)
del plainly, frames
gc.collect()
"""


def test_frames_may_be_collected_as_garbage() -> None:
    """As those are that a frame of a kept traceback holds."""
    done = subprocess.run([sys.executable, "-c", GARBAGE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@given(st.lists(plain, min_size=1, max_size=4), st.data())
def test_parts_of_arguments_come_back_as_themselves(args: list[Any], data: st.DataObject) -> None:
    there = pickling.loads(pickling.dumps((tuple(args), {})))[0]
    here_parts, there_parts = (pickling.objects(a, {}) for a in (tuple(args), there))
    assert len(here_parts) == len(there_parts)
    if not here_parts:
        return
    number = data.draw(st.integers(0, len(here_parts) - 1))
    result = {"part": there_parts[number], "fresh": [1]}
    assert pickling.refers(result, (there, {}), frozenset())
    frames = pickling.dumps_referring(result, (there, {}))
    back = pickling.loads_referring(frames, (tuple(args), {}))
    assert back["part"] is here_parts[number]
    assert back["fresh"] == [1]


def test_a_fresh_result_needs_no_references() -> None:
    item = (([1], [2]), {"k": [3]})
    for result in (1, "x", None, [1], {"a": [2]}, (1, 2)):
        assert not pickling.refers(result, item, frozenset())
    assert pickling.refers(item[0][0], item, frozenset())
    assert pickling.refers((item[1]["k"],), item, frozenset())


def test_the_culprit_is_named_by_its_path() -> None:
    class Holder:
        def __init__(self) -> None:
            self.fine = 1
            self.lock = threading.Lock()

    value = {"a": [1, {"b": threading.Lock()}]}
    with pytest.raises(TypeError) as caught:
        pickling.dumps(value)
    error = pickling.blame(value, caught.value, "result")
    assert "result['a'][1]['b'] cannot travel" in str(error) and "lock" in str(error)
    error = pickling.blame_items([((1,), {}), ((2,), {"k": [threading.Lock()]})], caught.value)
    assert "k[0]" in str(error) or "k of item 1[0]" in str(error)


@pytest.mark.parametrize("atom", [2**100, -6, 257, 1.5, "some text", b"bytes", 3 + 4j])
def test_an_atom_that_is_an_argument_comes_back_as_that_object(atom: Any) -> None:
    """``copy(x) is x`` holds for numbers and texts, too."""
    for here in (((1, atom), {}), ((), {"key": atom})):
        there = pickling.loads(pickling.dumps(here))
        result = (*there[0], *there[1].values())[-1]
        assert result is not atom
        assert pickling.refers(result, there, frozenset())
        assert pickling.loads_referring(pickling.dumps_referring(result, there), here) is atom


@pytest.mark.parametrize("atom", [None, True, 0, -5, 256, ""])
def test_where_there_is_one_object_only_nothing_has_to_be_said(atom: Any) -> None:
    assert not pickling.refers(atom, ((atom,), {}), frozenset())
