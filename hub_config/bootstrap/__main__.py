"""`python3 -m hub_config.bootstrap up|down|restore|test-env|vscode`: what the Makefile calls."""

from __future__ import annotations

import sys

# before anything is imported that an older Python cannot read
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("Python 3.11 or newer is needed: install it with `sudo apt-get install -y python3`, or use a newer Debian or Ubuntu.")

from hub_config.bootstrap.commands import main

sys.exit(main(sys.argv[1:]))
