"""Tasks of one function, packed for a worker: as many as one message should take."""

from __future__ import annotations

from collections.abc import Sequence

from bundlebee.calls.byvalue import Outbound, dumps
from bundlebee.calls.parcels import Parcel
from bundlebee.calls.pickling import blame_items
from bundlebee.calls.transport import LARGEST
from bundlebee.errors import Unshippable, told
from bundlebee.orders import Order

MOST_BYTES = 1 << 20  #: bytes in a chunk, beyond its first task


def pack(chunk: Sequence[Order]) -> tuple[Parcel, list[Order], list[Order]]:
    """Pack tasks. One that cannot travel has failed.

    Returns:
        the parcel, the tasks in it, and those that found no room.
    """
    parcel = Parcel(Outbound)
    packed: list[Order] = []
    for index, task in enumerate(chunk):
        try:
            added = parcel.add((task.args, task.kwargs))
        except Exception as error:
            task.fail(blame_items([(task.args, task.kwargs)], error, dumps))
            continue
        except BaseException as error:  # of a `__reduce__`: Ctrl-C does not come up in the thread that packs
            task.fail(Unshippable(f"the arguments of {task.function.name} cannot travel", why=told(error)))
            continue
        if added and max(parcel.bytes, *map(len, parcel.buffers), 0) > LARGEST:
            task.fail(Unshippable(f"the arguments of {task.function.name} are too large", why="over 2 GiB"))
            return parcel, [], packed + list(chunk[index + 1 :])  # the parcel is of no use
        if added:
            packed.append(task)
        if not added or parcel.buffers or parcel.bytes > MOST_BYTES:
            return parcel, packed, list(chunk[index + added :])
    return parcel, packed, []
