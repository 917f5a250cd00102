"""Servers by others behind the proxy, unmodified: the WebSocket libraries of Python and Node."""

import pathlib
import shutil
import subprocess

from program import environment

HERE = pathlib.Path(__file__).resolve().parent

# What is configured in place of a server that is not installed: the checks that need it are skipped.
NOBODY = 1


class Upstreams:
    """The servers, each on a port of its own, until the end of the `with` block."""

    def __init__(self, tools):
        python = tools / "venv/bin/python"
        self._commands = {
            "websockets": (python, [python, HERE / "upstream_websockets.py"]),
            "ws": (tools / "node_modules/ws", ["node", HERE / "upstream_ws.mjs", tools]),
        }
        self._running = []
        self.ports = {}

    def __enter__(self):
        for name, (needed, command) in self._commands.items():
            self.ports[name] = NOBODY
            if needed.exists() and shutil.which(command[0]):
                started = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                           env=environment())
                self._running.append(started)
                self.ports[name] = int(started.stdout.readline() or NOBODY)
        return self

    def __exit__(self, *_):
        for started in self._running:
            started.kill()
            started.wait()
            started.stdout.close()
