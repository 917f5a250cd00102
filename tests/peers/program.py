"""One of the two programs, running: its addresses, its log, its end."""

import json
import os
import signal
import subprocess
import tempfile
import threading

from report import Failure

# How long a program may take to listen, or to end.
PATIENCE = 15


def environment():
    """The environment without what would send loopback traffic to a proxy."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


class Program:
    """Starts a program with JSON log lines and waits until it listens."""

    def __init__(self, path, *arguments, listeners, folder=None):
        self.log = []
        self._changed = threading.Condition()
        self._ended = False
        self.urls = {}
        self._out = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [path, *arguments, "--log", "json"], stdin=subprocess.DEVNULL, stdout=self._out,
            stderr=subprocess.PIPE, text=True, cwd=folder, env=environment())
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        if not self._until(lambda: len(self.urls) == listeners):
            self.kill()
            raise RuntimeError("does not listen: " + "".join(self.log))

    def _read_log(self):
        for line in self._process.stderr:
            event = json.loads(line)
            with self._changed:
                self.log.append(line)
                if event["event"] == "listening":
                    self.urls[event["server"]] = event["url"]
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _until(self, holds):
        """Waits until `holds`, for as long as there can be more in the log; returns whether it does."""
        with self._changed:
            self._changed.wait_for(lambda: holds() or self._ended, timeout=PATIENCE)
            return holds()

    def port(self, server):
        """The port that `server` got."""
        return int(self.urls[server].rsplit(":", 1)[1])

    def printout(self):
        """What it has written to standard output; all of it was there before it listened."""
        self._out.seek(0)
        return self._out.read()

    def events(self, name):
        """The log lines of one kind so far."""
        events = (json.loads(line) for line in list(self.log))
        return [event for event in events if event["event"] == name]

    def decides(self, before, **members):
        """Waits for a decision with these members that is not among the first `before` of them."""
        decided = lambda: [event for event in self.events("decision")[before:] if members.items() <= event.items()]
        if not self._until(decided):
            raise Failure(f"no decision with {members} among {self.events('decision')[before:]}")
        return decided()[0]

    def decisions(self):
        """How many decisions there were so far."""
        return len(self.events("decision"))

    def tell_to_end(self):
        """Sends the signal on which it drains."""
        self._process.send_signal(signal.SIGTERM)

    def end(self):
        """Waits for its end and the end of its log; returns the exit code."""
        code = self._process.wait(timeout=PATIENCE)
        self._reader.join(timeout=PATIENCE)
        return code

    def kill(self):
        """Ends it whatever state it is in."""
        self._process.kill()
        self._process.wait()
