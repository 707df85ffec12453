"""`python -m mien`: the command line where no script `mien` was installed."""

from mien.cli import main

main()
