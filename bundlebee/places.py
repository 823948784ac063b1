"""The user's directories for configuration, cache and state.

They are those of `platformdirs`. Where those are plain to see, as on nearly every Linux, it is not imported: each command and each
worker asks, and it costs 10 ms of CPU time.
"""

from __future__ import annotations

import os
import sys

APPLICATION = "bundlebee"

_XDG = {
    "config": ("XDG_CONFIG_HOME", ".config"),
    "cache": ("XDG_CACHE_HOME", ".cache"),
    "state": ("XDG_STATE_HOME", ".local/state"),
}


def user_directory(kind: str) -> str:
    """Our directory of one kind (``config``, ``cache`` or ``state``), which need not exist."""
    if (
        sys.platform == "linux"
        and not hasattr(sys, "getandroidapilevel")
        and "ANDROID_ROOT" not in os.environ
    ):
        variable, below_home = _XDG[kind]
        base, home = os.environ.get(variable, ""), os.environ.get("HOME", "")
        if not base and home.startswith("/"):
            base = os.path.join(home.rstrip("/") or "/", below_home)
        if base.startswith("/"):
            return os.path.join(base, APPLICATION)
    import platformdirs

    find = {
        "config": platformdirs.user_config_dir,
        "cache": platformdirs.user_cache_dir,
        "state": platformdirs.user_state_dir,
    }
    return find[kind](APPLICATION)
