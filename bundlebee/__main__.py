"""`python -m bundlebee` is the `bundlebee` command."""

import sys

from bundlebee.cli import main

if __name__ == "__main__":
    sys.exit(main())
