"""Simulated servo board of a DofBot: registers, servos and clock."""

import errno

import numpy as np

from invdyn_ros.arms.dofbot_bus import DofbotBus

HOME = (2000, 2000, 2000, 2000, 1487, 1511)  # counts of the vendor's home: 90 90 90 90 90 50 deg


class Clock:
    """Clock that advances only during sleep."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class ServoBoard:
    """Registers of the servo board, with six servos that move linearly to their targets."""

    def __init__(self, clock, counts=HOME):
        self.clock = clock
        self.moves = [(count, count, 0.0, 0.0) for count in counts]  # from, to, since, duration
        self.duration = 0.0
        self.torque = False
        self.read_requests = {}
        self.mute = set()  # ids of servos that do not respond
        self.cut = False  # whether the cable is cut
        self.log = []

    def count(self, i):
        first, last, since, duration = self.moves[i]
        done = min((self.clock() - since) / duration, 1.0) if duration else 1.0
        return round(first + done * (last - first))

    def move(self, i, count, duration):
        assert 96 <= count <= 4000
        if self.torque:
            self.moves[i] = (self.count(i), count, self.clock(), duration)

    def write(self, register, data):
        if self.cut:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        self.log.append((register, tuple(data)))

    def write_byte_data(self, i2c_addr, register, value):
        assert i2c_addr == 0x15
        self.write(register, [value])
        if register == 0x1A:
            self.torque = bool(value)
        elif 0x31 <= register <= 0x36:
            self.read_requests[register] = self.clock()

    def write_i2c_block_data(self, i2c_addr, register, data):
        assert i2c_addr == 0x15 and all(0 <= byte <= 255 for byte in data)
        self.write(register, data)
        words = [high << 8 | low for high, low in zip(data[::2], data[1::2], strict=True)]
        if register == 0x1E:
            self.duration = words[0] / 1e3
        elif register == 0x1D:
            for i, count in enumerate(words):
                self.move(i, count, self.duration)
        elif 0x11 <= register <= 0x16:
            self.move(register - 0x11, words[0], words[1] / 1e3)

    def read_word_data(self, i2c_addr, register):
        assert i2c_addr == 0x15
        if self.cut:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        requested, id = self.read_requests.pop(register, np.inf), register - 0x30
        if id in self.mute or self.clock() - requested < 0.003 - 1e-9:
            return 0
        count = self.count(id - 1)
        return (count & 0xFF) << 8 | count >> 8  # SMBus: the first byte is the low one


def bus_of(board):
    """Return a bus to a board that sleeps on the board's clock."""
    return DofbotBus(board, board.clock.sleep)
