"""`python -m sdk.dsnd`."""

import sys

from sdk.dsnd.main import main

sys.exit(main())
