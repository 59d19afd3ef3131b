"""Put on PYTHONPATH by the tests: no process of theirs, kernels included, reaches any machine but this one."""

import socket

LOOPBACK = ("127.", "::1", "localhost")
_connect, _getaddrinfo = socket.socket.connect, socket.getaddrinfo


def _local(host) -> bool:
    return host in (None, "", b"") or str(host).startswith(LOOPBACK)


def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and not _local(address[0]):
        raise OSError(f"the tests block the network: connection to {address[0]}")
    return _connect(self, address)


def getaddrinfo(host, *args, **options):
    if not _local(host):
        raise OSError(f"the tests block the network: look-up of {host}")
    return _getaddrinfo(host, *args, **options)


socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
