"""Frames: `sys._getframe`, as it was when we started (a program may take it away), and those of other nodes."""

from __future__ import annotations

import sys

getframe = sys._getframe

NODE = "__bundlebee_node__"
"""The global of frames that stand for ones of another node: its name."""
