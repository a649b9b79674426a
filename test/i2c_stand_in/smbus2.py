"""Stand-in for the package smbus2: an I2C bus that is a socket to a simulated servo board.

A process that has this folder in its PYTHONPATH, and the address of the board in I2C_SOCKET, opens
the bus as it would open a real one.
"""

import os
from multiprocessing.connection import Client


class SMBus:
    """The calls of smbus2.SMBus that the driver of the DofBot makes."""

    def __init__(self, bus):
        self._board = Client(os.environ["I2C_SOCKET"], "AF_UNIX")

    def _call(self, *call):
        self._board.send(call)
        result = self._board.recv()
        if isinstance(result, Exception):
            raise result
        return result

    def write_byte_data(self, i2c_addr, register, value):
        self._call("write_byte_data", i2c_addr, register, value)

    def write_i2c_block_data(self, i2c_addr, register, data):
        self._call("write_i2c_block_data", i2c_addr, register, list(data))

    def read_word_data(self, i2c_addr, register):
        return self._call("read_word_data", i2c_addr, register)
