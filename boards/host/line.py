"""Messages over a serial port: sent, received, answered."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import serial

from abc_hw.errors import InputError

from .. import link
from ..link import Cause, Frame, Kind

LEAST_GRACE = 0.02
"""Seconds that answers under way get, at the least, when a frame was lost."""


class LinkError(InputError):
    """The device does not answer, or not as it should."""


class Line:
    """An open serial port with a device behind it.

    Parameters
    ----------
    port : open, its reads return after some milliseconds
    timeout : seconds after which a message without answer is sent again
    retries : so many time-outs more until it is given up

    Members
    -------
    timeout, patience : seconds after which a message is sent again, and given up
    resent : messages that had to be sent again
    """

    def __init__(self, port: serial.SerialBase, *, timeout: float, retries: int) -> None:
        self._port = port
        self._receiver = link.Receiver()
        self._tag = secrets.randbits(32)
        self.timeout = timeout
        self.patience = timeout * (retries + 1)
        self.resent = 0

    @staticmethod
    def now() -> float:
        """Seconds, from any beginning."""
        return time.monotonic()

    @property
    def name(self) -> str:
        """The port's."""
        return str(self._port.name)

    def close(self) -> None:
        self._port.close()

    def ask(self, question: Kind, answer: Kind) -> bytes:
        """The payload of the answer to a message without one."""
        give_up = self.now() + self.patience
        again = False
        while self.now() < give_up:
            tag = self.next_tag()
            self.send((b"\0" if again else b"") + Frame(question, tag).encode())
            self.resent += again
            again = True
            deadline = self.now() + self.timeout
            while self.now() < deadline:
                for found in self.receive():
                    if isinstance(found, Frame) and (found.kind, found.tag) == (answer, tag):
                        return found.payload
                    if isinstance(found, Cause) or (found.kind, found.tag) == (Kind.REFUSED, 0):
                        deadline = min(deadline, self.now() + LEAST_GRACE)
        raise LinkError(
            f"{self.name}: expected an answer to {question.name}, found none in {self.patience:g} s"
        )

    def next_tag(self) -> int:
        """One that was not used before."""
        self._tag = (self._tag + 1) % (1 << 32) or 1
        return self._tag

    def send(self, data: bytes) -> None:
        """
        Raises
        ------
        LinkError
            if the port takes no data.
        """
        try:
            self._port.write(data)
        except (serial.SerialException, OSError) as error:
            raise LinkError(f"{self.name}: expected a port that takes data, found: {error}") from error

    def receive(self) -> Iterator[Frame | Cause]:
        """What has come; waits for it no longer than a read takes."""
        try:
            data = self._port.read(max(1, self._port.in_waiting))
        except (serial.SerialException, OSError) as error:
            raise LinkError(f"{self.name}: expected a device, found: {error}") from error
        return self._receiver.feed(data)

    def settle(self) -> None:
        """Let what is under way come, and forget it; a device that never ends is not waited for."""
        give_up = self.now() + self.timeout
        until = self.now() + LEAST_GRACE
        while self.now() < min(until, give_up):
            for _ in self.receive():
                until = self.now() + LEAST_GRACE
