"""A process that loads PyTorch, then waits for one order on stdin: `python -m alexnet_explorer.ready SECONDS`.

`launch.local.Standby` starts it. The order is a line of JSON: {"arguments": of the command line, "log": a file}.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from .cli import main
from .training import loop  # noqa: F401 - so that it is loaded when the order comes

if __name__ == "__main__":
    patience = threading.Timer(float(sys.argv[1]), os._exit, [0])
    patience.start()
    line = sys.stdin.readline()
    patience.cancel()
    if not line:  # the app has ended, or needs it no more
        sys.exit()
    order = json.loads(line)
    with Path(order["log"]).open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.argv[1:] = order["arguments"]
    main()
