"""BLAKE2b and SHA-256 for little data, without OpenSSL.

They are what `hashlib` gives; but to import that loads all of OpenSSL, 3 ms of CPU time in each process. For much data use it
nevertheless: its SHA-256 is several times faster.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import blake2b, sha256
else:
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b
    try:
        from _sha2 import sha256  # since Python 3.12
    except ImportError:
        try:
            from _sha256 import sha256
        except ImportError:
            from hashlib import sha256

__all__ = ["blake2b", "sha256"]
