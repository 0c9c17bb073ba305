"""`python -m pipeline VERB …`: the same as `centernet VERB …`."""

import sys

from pipeline.commands.cli import main

sys.exit(main())
