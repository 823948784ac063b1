"""Whether a node has what a bundle needs: the same versions of the distributions that it requires, as here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from bundlebee.errors import EnvironmentDiffers
from bundlebee.loggers import get_logger

if TYPE_CHECKING:
    from bundlebee.guest import Guest
    from bundlebee.registry.snapshot import NodeView
    from bundlebee.words import BundleRef

log = get_logger("bundlebee.peers")


class Environments:
    """Of the nodes of the grid, as far as one program has compared them with its own.

    Args:
        guest: our membership in the grid.
        requires: gives the requirements of a bundle, as in ``Requires-Dist``.
    """

    def __init__(self, guest: Guest, requires: Callable[[BundleRef], Sequence[str]]) -> None:
        self._guest = guest
        self._requires = requires
        self._differs: dict[tuple[str, str], str] = {}
        """Node and bundle -> why it cannot run there; empty: it can."""

    def compare(self, place: str, ref: BundleRef) -> None:
        """Once for each node and bundle: whether the distributions that it needs are the same there.

        Raises:
            EnvironmentDiffers: they are not.
        """
        view = self._guest.snapshot().node(place)
        if view is None:
            return
        key = view.row.id, ref.digest
        if key not in self._differs:
            self._differs[key] = self._difference(view, ref)
        if self._differs[key]:
            raise EnvironmentDiffers(f"{place} is not used for {ref.name}", why=self._differs[key])

    def _difference(self, view: NodeView, ref: BundleRef) -> str:
        requires = self._requires(ref)
        if not requires:
            return ""
        from bundlebee.bundles import installed

        here = installed.versions()
        if view.row.distributions == installed.digest(here):
            return ""
        own = [row.name for row in view.bundles if row.digest == ref.digest]
        names = installed.needed(requires, own)
        body, _ = self._guest.ask(view.row.address, "distributions", msgspec.msgpack.encode(sorted(names)))
        found = installed.differences(names, here, msgspec.msgpack.decode(body, type=dict[str, str]))
        if not found:
            return ""
        log.warning(
            "%s is not used for %s %s: what that needs is not the same there\n%s",
            *(view.row.name, ref.name, ref.version, installed.table(found)),
        )
        first = found[0]
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        return f"{first.name} is {first.here or 'not installed'} here, {first.there or 'not installed'} there{more}"
