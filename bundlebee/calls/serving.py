"""Whether the calling thread is a worker inside the caller's process (`inprocess`). Asked at start-up, so it imports nothing."""

from __future__ import annotations

import threading


class _Serving(threading.local):
    here = False


serving = _Serving()
"""``serving.here``: what this thread runs was shipped already, and stays."""
