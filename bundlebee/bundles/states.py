"""The life of a bundle on a node, in the words of OSGi."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a bundle stands. The text is what the registry and people see."""

    INSTALLED = "installed"  #: its files are here and whole; a dependency may be missing
    RESOLVED = "resolved"  #: everything it requires is here
    STARTING = "starting"  #: its sources are being checked
    ACTIVE = "active"  #: workers can import it
    STOPPING = "stopping"  #: it is being replaced or taken away
    UNINSTALLED = "uninstalled"  #: gone; calls that hold it still end as they began
