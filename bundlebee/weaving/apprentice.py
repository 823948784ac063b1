"""A process that weaves modules into the cache, one after the other, as it is told; see `bundlebee.weaving.ahead`.

    python -m bundlebee.weaving.apprentice CACHE SCATTER

Each line on standard input is a JSON array: dotted name, source file. Each is answered with an empty line, whatever came of it.
It ends with its input.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

from bundlebee.weaving.cache import WovenCache, status_of
from bundlebee.weaving.loom import is_worth_weaving
from bundlebee.weaving.weaver import weave


def main() -> None:
    """Work until there is nothing more to do."""
    cache, scatter = WovenCache(Path(sys.argv[1])), sys.argv[2] == "1"
    for line in sys.stdin.buffer:
        module, path = json.loads(line)
        try:
            prepare(cache, module, path, scatter=scatter)
        except Exception:
            pass
        sys.stdout.write("\n")
        sys.stdout.flush()


def prepare(cache: WovenCache, module: str, path: str, *, scatter: bool) -> None:
    """Weave one module into the cache. One that Python has a warning about is the program's own to weave: it hears it then."""
    status = status_of(path)
    source = Path(path).read_bytes()
    if not is_worth_weaving(source):
        return
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        woven = weave(source, module=module, path=path, scatter=scatter)
    if not heard:
        cache.store(woven, scatter=scatter, status=status)


if __name__ == "__main__":
    main()
