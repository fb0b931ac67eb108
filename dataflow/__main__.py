"""`python -m dataflow` is the command `dataflow`."""

import sys
from pathlib import Path

# `python -m` puts the current folder first on the path; a folder there called `workers` or `sync` would be taken for
# ours. It stays where it is the very folder that this package was found in.
if not sys.flags.safe_path and Path(sys.path[0] or ".").resolve() != Path(__file__).resolve().parents[1]:
    del sys.path[0]

from dataflow.cli import main

if __name__ == "__main__":
    main()
