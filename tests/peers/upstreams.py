"""Servers behind the proxy, unmodified: the WebSocket libraries of Python and Node, and the program itself, whose echo
is tungstenite's."""

import json
import pathlib
import shutil
import subprocess
import tempfile

from program import Program, environment

HERE = pathlib.Path(__file__).resolve().parent

# The echo that everybody may use: what stands before it judges.
ECHO = {"servers": [{"id": "inner", "listen": ["127.0.0.1:0"], "plaintext": True}],
        "services": {"echo": {"type": "echo", "accept": "/", "public": True}},
        "limits": {"messageBytes": 32 << 20}}

# What is configured in place of a server that is not installed: the checks that need it are skipped.
NOBODY = 1


class Upstreams:
    """The servers, each on a port of its own, until the end of the `with` block."""

    def __init__(self, tools, program):
        self._program = program
        self._folder = tempfile.TemporaryDirectory(prefix="countersign-upstream-")
        self._echo = None
        python = tools / "venv/bin/python"
        self._commands = {
            "websockets": (python, [python, HERE / "upstream_websockets.py"]),
            "ws": (tools / "node_modules/ws", ["node", HERE / "upstream_ws.mjs", tools]),
        }
        self._running = []
        self.ports = {}

    def __enter__(self):
        config = pathlib.Path(self._folder.name) / "inner.json"
        config.write_text(json.dumps(ECHO))
        self._echo = Program(self._program, "--config", config, listeners=1)
        self.ports["tungstenite"] = self._echo.port("inner")
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
        self._echo.kill()
        self._folder.cleanup()
        for started in self._running:
            started.kill()
            started.wait()
            started.stdout.close()
