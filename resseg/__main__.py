"""`python -m resseg` is the `resseg` command."""

import sys

from resseg.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
