"""The clocks, as they were before the program began.

Programs, and above all their tests, put clocks of their own into the ``time`` module, and into every module that holds
one of its functions (freezegun looks for them). Ours must go on, and must not take the turn of a clock that gives
prepared times one by one. So inside a program all our code reads the time through this class, where nobody looks.
"""

from __future__ import annotations

import time as _time
from typing import Final


class clock:  # read as a module
    """``clock.monotonic()`` and so on: what `time` has under these names."""

    time: Final = _time.time
    monotonic: Final = _time.monotonic
    perf_counter: Final = _time.perf_counter
    thread_time: Final = _time.thread_time
    sleep: Final = _time.sleep
