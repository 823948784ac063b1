"""The watch: a thread that glances at the running stacks and arms again what is seen to take time.

Disarmed functions cost nothing, and so say nothing either. Many times a second the watch reads which functions are
on the stacks (`sys._current_frames`). One that is met in two glances with the same frame is inside one long call:
it is armed when that call is over. One that is met again and again in different frames is called often: it is
armed for a few samples, and must be met twice as often before the next time. The cost of a glance is bounded by
`DEPTH` frames a thread, whatever the number of functions.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bundlebee.aspects.profile import Profile

INTERVAL = 0.05  #: seconds between glances; 20 a second cost some 0.3 % where each takes the interpreter lock from a busy thread
DEPTH = 64  #: innermost frames that are looked at in each thread
MEETINGS = 8  #: glances that must meet a function before it is sampled again (times its `Profile.trust`)


class Watch:
    """Start it once a program has advised functions; it ends with the process, or by `stop`."""

    def __init__(self, by_code: Mapping[object, Profile]) -> None:
        self._by_code = by_code
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bundlebee-watch", daemon=True)
        self._last: dict[int, Profile] = {}
        self._long: dict[int, Profile] = {}

    def start(self) -> None:
        """Begin to glance."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait until it has ended."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        own = threading.get_ident()
        while not self._stop.wait(INTERVAL):
            self._glance(own)

    def _glance(self, own: int) -> None:
        seen: dict[int, Profile] = {}
        for thread, frame in sys._current_frames().items():
            if thread == own:
                continue
            current: FrameType | None = frame
            for _ in range(DEPTH):
                if current is None:
                    break
                profile = self._by_code.get(current.f_code)
                if profile is not None:
                    seen[id(current)] = profile
                current = current.f_back
            del frame, current
        for key, profile in seen.items():
            if profile.point.armed or profile.pin is not None:
                continue
            if self._last.get(key) is profile:
                self._long[key] = profile
            else:
                profile.hits += 1
                if profile.hits >= MEETINGS * profile.trust:
                    profile.trust *= 2
                    self._arm(profile)
        for key in [key for key, profile in self._long.items() if seen.get(key) is not profile]:
            self._arm(self._long.pop(key))
        self._last = seen

    @staticmethod
    def _arm(profile: Profile) -> None:
        profile.hits = 0
        profile.short = 0
        if profile.pin is None and not profile.point.armed:
            profile.point.arm()
            while profile.sites:
                advice, site = profile.sites.pop()
                advice.switch(site, True)
