"""The numbers that membership runs by, each with its reason."""

from __future__ import annotations

import msgspec


class Timing(msgspec.Struct, frozen=True):
    """Defaults for a LAN. All in seconds."""

    #: A node says that it lives. Once a second is what people call "at once" for a machine that appears,
    #: and costs 100 nodes 15 kB/s on the wire altogether.
    beat: float = 1.0

    #: Silent that long, a node is doubted and asked by unicast. Three beats: with 10 % loss one node in a
    #: thousand is asked without need each second, and being asked harms nobody.
    suspect: float = 3.0

    #: Silent that long, and deaf to the questions too (two of them, by then), a node has left.
    expire: float = 5.0

    #: A doubted node is asked again that often.
    probe: float = 1.0

    #: When a newcomer says hello, after its start. The first usually does; the others are for lost datagrams.
    hello: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0)

    #: Answers to a hello wait up to that long for each node in the grid (at most `answer_max`), so that they
    #: do not collide.
    answer: float = 0.001
    answer_max: float = 0.03

    #: So many nodes of the grid, chosen by lot, answer a hello. The newcomer has the rest from one of them.
    answerers: int = 8

    #: A newcomer that hears of nodes it does not know gives them that long to speak up, then asks for all.
    settle_new: float = 0.05

    #: Two nodes that differ in their view of the grid for that long compare notes. Longer than the time
    #: between the moments at which two nodes notice the same death.
    settle: float = 2.0

    #: With every seed, notes are compared that often: where multicast does not reach, this *is* the beat.
    exchange: float = 1.0

    #: A seed that does not answer is asked less and less often, down to this.
    exchange_max: float = 5.0

    #: Pulls wait up to that long for each node in the grid (at most `pull_max`), so that a big change does
    #: not bring everybody to one node's door in one millisecond.
    pull: float = 0.001
    pull_max: float = 1.0

    #: Where we have older rows, a pull waits at least that long: the delta may only have been overtaken.
    overtaken: float = 0.005

    #: A pull that failed is repeated, elsewhere if possible, after this.
    pull_again: float = 0.5

    #: A question to a peer that has not come back by then is taken as lost.
    answer_lost: float = 10.0

    #: How often silence is looked for.
    sweep: float = 0.5

    #: We ourselves were not running for that long: asleep, stopped, or starved of CPU. Nobody else is to
    #: blame for what we did not hear.
    late: float = 1.5


LAN = Timing()
