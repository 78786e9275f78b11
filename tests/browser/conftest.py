"""The app as its users run it: a server in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from alexnet_explorer.runs import LIVE, list_runs

PROJECT = Path(__file__).parents[2]


class Server:
    """`streamlit run app.py` in a process of its own, with folders of its own."""

    def __init__(self, folder):
        self.folder, self.runs = folder, folder / "runs"
        with socket.socket() as free:
            free.bind(("localhost", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://localhost:{self.port}"
        self.started = time.perf_counter()
        with (folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true",
                 "--server.port", str(self.port)],
                cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={
                    **os.environ,
                    "ALEXNET_EXPLORER_RUNS": str(self.runs),
                    "ALEXNET_EXPLORER_DATA": str(folder / "data"),
                },
            )  # fmt: skip

    def wait(self):
        """Until it takes connections."""
        while time.perf_counter() - self.started < 60:
            assert self.process.poll() is None, self.log()
            with socket.socket() as probe:
                if probe.connect_ex(("localhost", self.port)) == 0:
                    return
            time.sleep(0.02)
        pytest.fail(f"the server did not start: {self.log()}")

    def log(self):
        return (self.folder / "server.log").read_text()

    def end(self):
        """The server, and what it started."""
        for run in list_runs(self.runs, gallery=False):
            status = run.status()
            if status.state in LIVE and psutil.pid_exists(status.pid):
                os.kill(status.pid, signal.SIGKILL)
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def server(tmp_path):
    """A fresh server; its clock runs from the start of its process."""
    server = Server(tmp_path)
    yield server
    server.end()
