"""`python -m contract < contract/README.md` prints the page with its tables written anew."""

import sys

from contract.page import fill

sys.stdout.write(fill(sys.stdin.read()))
