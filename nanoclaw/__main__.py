"""`python -m nanoclaw` is the command line."""

import sys

from nanoclaw.cli import main

sys.exit(main())
