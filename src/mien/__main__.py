"""The program: `mien`, and `python -m mien` where no script was installed."""

import os

try:
    from mien.cli import main
except KeyboardInterrupt:  # Ctrl-C before `main` can answer it
    os.write(2, b"stopped\n")
    os._exit(130)

if __name__ == "__main__":
    main()
