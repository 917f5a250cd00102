"""Members of a broadcast and readers of a data point on two nodes that share a real Redis, also while it dies."""

import json
import threading
import time

from report import expect, expect_equal

TEXT, BINARY, CLOSE = 1, 2, 8
PATIENCE = 10


def frame(kind, payload):
    """A whole message as a client sends it, masked with zeros."""
    length = len(payload)
    if length < 126:
        head = bytes([0x80 | kind, 0x80 | length])
    elif length < 1 << 16:
        head = bytes([0x80 | kind, 0x80 | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([0x80 | kind, 0x80 | 127]) + length.to_bytes(8, "big")
    return head + bytes(4) + payload


class Member:
    """One socket, read by a thread of its own."""

    def __init__(self, stream):
        self.stream = stream
        stream.settimeout(None)
        self.heard = []
        self.ended = None
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def say(self, payload, kind=TEXT):
        """Sends one message."""
        self.stream.sendall(frame(kind, payload))

    def hears(self, payload, kind=TEXT, within=PATIENCE):
        """Waits until this message was heard."""
        with self._changed:
            self._changed.wait_for(lambda: (kind, payload) in self.heard or self.ended, timeout=within)
            last = self.heard[-1][1][:40] if self.heard else None
            expect((kind, payload) in self.heard, f"not heard, but {last}, ended: {self.ended}")

    def end(self):
        """Ends the stream."""
        self.stream.close()

    def _take(self, count):
        data = b""
        while len(data) < count:
            piece = self.stream.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def _read(self):
        try:
            while True:
                kind, length = self._take(2)
                if length >= 126:
                    length = int.from_bytes(self._take(2 if length == 126 else 8), "big")
                payload = self._take(length)
                with self._changed:
                    if kind & 15 in (TEXT, BINARY):
                        self.heard.append((kind & 15, payload))
                    elif kind & 15 == CLOSE:
                        raise EOFError(payload)
                    self._changed.notify_all()
        except (OSError, EOFError) as why:
            with self._changed:
                self.ended = repr(why)
                self._changed.notify_all()


def member(node, path, fields):
    """Opens a socket of a node."""
    status, stream = node.open(path, fields)
    expect_equal(status, 101, f"the answer of {path}")
    return Member(stream)


def checks(report, nodes, fields):
    """What is said on one node is heard on the other."""
    with report.check("bus: what a member says on one node is heard on the other, text and binary, in order, and once"):
        members = [member(node, "/chat", fields) for node in nodes]
        for sender, hearer in (members, members[::-1]):
            for number in range(100):
                sender.say(b"%d" % number)
            large = bytes(range(256)) * 4000
            sender.say(large, BINARY)
            hearer.hears(large, BINARY)
            expect_equal(hearer.heard, [(TEXT, b"%d" % number) for number in range(100)] + [(BINARY, large)], "it")
        for one in members:
            expect_equal(len(one.heard), 101, "the number of messages")
            one.end()
    with report.check("bus: a data point written on one node is read on the other"):
        writer, reader = (member(node, "/point", fields) for node in nodes)
        for number in range(10):
            writer.say(json.dumps({"value": number}).encode())
        until = time.monotonic() + PATIENCE
        value = lambda: [json.loads(payload)["value"] for _, payload in reader.heard]
        while value()[-1:] != [9] and time.monotonic() < until:
            time.sleep(0.02)
        expect(value()[1:] == list(range(10)) or value() == list(range(10)), f"the values are {value()}")
        for one in (writer, reader):
            one.end()


def under_load(report, redis, nodes, fields, lines):
    """Kills Redis and starts it again while members speak. `lines` is how often each node spoke of it so far."""
    with report.check("bus: killing and restarting Redis under load loses no connection, and no message on its node"):
        speakers = [member(node, "/chat", fields) for node in nodes]
        hearers = [member(node, "/chat", fields) for node in nodes]
        idle = [member(node, "/chat", fields) for node in nodes for _ in range(20)]
        stop, counts = threading.Event(), [0, 0]

        def load(index):
            while not stop.is_set():
                counts[index] += 1
                speakers[index].say(b"%d %d %s" % (index, counts[index], b"x" * 200))
                time.sleep(0.001)

        threads = [threading.Thread(target=load, args=(index,)) for index in (0, 1)]
        for thread in threads:
            thread.start()
        try:
            for kill in range(2):
                time.sleep(0.5)
                redis.kill()
                for node in nodes:
                    node.bus(lines + 2 * kill + 1, "down")
                time.sleep(0.5)
                redis.start()
                for node in nodes:
                    node.bus(lines + 2 * kill + 2, "up")
            time.sleep(0.5)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        for index, speaker in enumerate(speakers):
            speaker.say(b"%d end" % index)
        everybody = hearers + idle
        for one in everybody:
            for index in (0, 1):
                one.hears(b"%d end" % index)
        for place, one in enumerate(hearers):
            for index in (0, 1):
                words = [payload.split() for _, payload in one.heard]
                numbers = [int(word[1]) for word in words if int(word[0]) == index and word[1] != b"end"]
                if place == index:
                    expect_equal(numbers, list(range(1, counts[index] + 1)), "what was heard on the same node")
                else:
                    expect(numbers == sorted(set(numbers)), "something was heard twice, or out of order")
                    expect(len(numbers) > counts[index] / 4, f"only {len(numbers)} of {counts[index]} came over")
        for one in everybody + speakers:
            expect(not one.ended, f"a socket has ended: {one.ended}")
            one.end()
