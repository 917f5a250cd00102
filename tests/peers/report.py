"""One line for each check, and the sum of them."""

import contextlib
import os
import time


class Failure(Exception):
    """A check that does not hold, and why."""


class Missing(Exception):
    """A peer that is not installed, and how to install it."""


def expect(condition, why):
    """Fails the check unless `condition` holds."""
    if not condition:
        raise Failure(why)


def expect_equal(found, wanted, what):
    """Fails the check unless both are the same."""
    expect(found == wanted, f"{what} is {found!r}, not {wanted!r}")


class Report:
    """Prints what passes and what does not, each name after that of the program under test."""

    def __init__(self):
        self.subject = ""
        self.passed = self.failed = self.skipped = 0

    def ok(self, name, remark=""):
        """Reports a check that holds."""
        self.passed += 1
        self._line("ok", name, remark)

    def fail(self, name, why):
        """Reports a check that does not hold, on one line whatever the reason says."""
        self.failed += 1
        self._line("FAILED", name, " ".join(str(why).split()) or type(why).__name__)

    def skip(self, name, how_to_install):
        """Reports a check whose peer is missing: where everything has to be there, that is a failure."""
        if os.environ.get("CI") == "true":
            self.fail(name, f"not installed: {how_to_install}")
        else:
            self.skipped += 1
            self._line("skipped", name, f"(not installed: {how_to_install})")

    @contextlib.contextmanager
    def check(self, name):
        """One check: it passes if nothing is raised. A fault of the check itself is a failure too."""
        try:
            yield
        except Missing as missing:
            self.skip(name, missing)
        except Exception as why:  # Whatever it is, the other checks still run.
            self.fail(name, why)
        else:
            self.ok(name)

    @contextlib.contextmanager
    def phase(self, name):
        """Checks that belong together, and how long they take."""
        start = time.monotonic()
        yield
        self._line("--", name, f"{time.monotonic() - start:.1f} s")

    def take(self, lines):
        """Takes over the lines `ok NAME` and `FAILED NAME why` that a peer's own script printed."""
        for line in lines:
            verdict, _, rest = line.partition(" ")
            if verdict == "ok":
                self.ok(rest)
            elif verdict == "FAILED":
                name, _, why = rest.partition(": ")
                self.fail(name, why)

    def sum(self):
        """Prints the last line and returns the exit code."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.passed} passed, {self.failed} failed{skipped}", flush=True)
        return 1 if self.failed or not self.passed else 0

    def _line(self, verdict, name, remark):
        print(" ".join(filter(None, (verdict, self.subject, name, remark))), flush=True)
