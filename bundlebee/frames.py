"""`sys._getframe`, as it was when we started: a program may take it away."""

from __future__ import annotations

import sys

getframe = sys._getframe
