"""The watch: a thread that glances at the running stacks and has measured again what is seen to take time.

Disarmed functions cost nothing, and so say nothing either. Now and then the watch reads which functions are on the
stacks (`sys._current_frames`). One that was never measured (see `Analysis.profile_by_code`) is measured as soon as it is
met. One that is met with the same frame in glances that follow each other is inside one long call: it is measured when that
call is over. One that is met again and again in different frames is called often: it is measured for a few calls. Each time
that these find it short, it must be met for twice as long before the next time. Where glances find nothing long, they become
rare. The cost of a glance is bounded by `DEPTH` frames a thread, whatever the number of functions.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bundlebee.aspects.analysis import Analysis
    from bundlebee.aspects.profile import Profile

SHORTEST, LONGEST = 0.05, 0.5
"""Seconds between glances. Each takes the interpreter lock away from a busy thread, which costs that thread 1 to 2 ms
on a machine of two cores: 20 a second made a program slower by some 3 %, 2 a second cannot be seen."""

FIRST = 0.2
"""Seconds from the first function that there is to look at. Most programs begin with imports, which are over by then."""

GROWTH = 1.25  #: factor on the pause after a glance that finds nothing long; the longest is reached after 2 s
DEPTH = 64  #: innermost frames that are looked at in each thread
MEETINGS = 0.4  #: seconds that a function must have been seen running before it is sampled again (times its `Profile.trust`)

Seen = Mapping[int, "Profile"]
"""The profiles of the functions on the stacks, by the identity of the frame."""


class Rule:
    """What a glance means: the watch without thread and clock."""

    def __init__(self) -> None:
        self.pause = SHORTEST  #: seconds until the next glance
        self._last: dict[int, tuple[Profile, int]] = {}
        self._long: dict[int, Profile] = {}

    def glance(self, seen: Seen) -> list[Profile]:
        """The functions that are to be armed now.

        Args:
            seen: what was on the stacks, `pause` seconds after the glance before.
        """
        due: list[Profile] = []
        streaks: dict[int, tuple[Profile, int]] = {}
        for key, profile in seen.items():
            if profile.point.armed or profile.idle or profile.pin is not None:
                continue
            before, streak = self._last.get(key, (None, 0))
            streak = streak + 1 if before is profile else 0
            streaks[key] = profile, streak
            if streak >= profile.trust:
                # A frame is known by its address. Calls that follow each other often share one: hence the doubts.
                self._long[key] = profile
            elif not streak:
                profile.met += self.pause
                if profile.met >= MEETINGS * profile.trust:
                    due.append(profile)
        over = [key for key, profile in self._long.items() if seen.get(key) is not profile]
        due += [self._long.pop(key) for key in over]
        self.pause = SHORTEST if over else min(self.pause * GROWTH, LONGEST)
        self._last = streaks
        return due


class Watch:
    """Looks at nothing before `begin`; ends with the process, or by `stop`."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._rule = Rule()
        self._wanted = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bundlebee-watch", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def begin(self) -> None:
        """There is something to glance at."""
        self._wanted.set()

    def stop(self) -> None:
        """End, and wait until it has ended."""
        self._stop.set()
        self._wanted.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=1.0)

    def _run(self) -> None:
        own = threading.get_ident()
        self._wanted.wait()
        if self._stop.wait(FIRST):
            return
        while not self._stop.wait(self._rule.pause):
            for profile in self._rule.glance(self._seen(own)):
                self._sample(profile)
            self._analysis.somebody()

    def _seen(self, own: int) -> dict[int, Profile]:
        seen: dict[int, Profile] = {}
        for thread, frame in sys._current_frames().items():
            if thread == own:
                continue
            current: FrameType | None = frame
            for _ in range(DEPTH):
                if current is None:
                    break
                profile = self._analysis.profile_by_code(current.f_code)
                if profile is not None:
                    seen[id(current)] = profile
                current = current.f_back
            del frame, current
        return seen

    def _sample(self, profile: Profile) -> None:
        profile.met = 0.0
        profile.short = 0
        profile.trust *= 2
        if profile.pin is None and not profile.point.armed:
            self._analysis.sample(profile)
            while profile.sites:
                advice, site = profile.sites.pop()
                advice.switch(site, True)
