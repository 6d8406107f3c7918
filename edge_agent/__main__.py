"""`python -m edge_agent --settings FILE`: runs this device's agent until SIGTERM."""

import sys

from edge_agent.main import main

if __name__ == "__main__":
    sys.exit(main())
