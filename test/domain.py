"""A DDS domain that nobody else on this machine uses."""

import socket

DOMAINS = range(1, 101)  # above 101, DDS ports meet those that the system gives out
DISCOVERY = (0, *range(10, 50, 2))  # UDP ports of a domain: of all, then of participants by number


def first_port(domain):
    """The first of the 250 ports of a domain."""
    return 7400 + 250 * domain


def claim(first):
    """Return a free domain and what keeps it: a socket to be held as long as it is used.

    Nobody uses DDS in it, for its UDP ports are free; and no other run of tests has claimed it:
    TCP has a port of the same number, which DDS leaves alone and which only one can bind.
    """
    for k in range(len(DOMAINS)):
        domain = DOMAINS[(first + k) % len(DOMAINS)]
        claimed = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            claimed.bind(("", first_port(domain)))
            for offset in DISCOVERY:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
                    asked.bind(("", first_port(domain) + offset))
        except OSError:
            claimed.close()
        else:
            return domain, claimed
    raise RuntimeError(f"no DDS domain is free, from {DOMAINS[0]} to {DOMAINS[-1]}")
