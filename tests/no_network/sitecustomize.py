"""Put on PYTHONPATH by the tests: no Python process of theirs, kernels included, reaches any machine but this one."""

import socket

LOOPBACK = ("127.", "::1", "localhost")
REMOTE = (socket.AF_INET, socket.AF_INET6)
_socket, _functions = socket.socket, {name: getattr(socket, name) for name in ("getaddrinfo", "gethostbyname")}
_methods = {name: getattr(_socket, name) for name in ("connect", "connect_ex", "sendto")}


def _local(host) -> bool:
    return host in (None, "", b"") or str(host).startswith(LOOPBACK)


def _blocked_method(name):
    def call(self, *arguments):
        address = arguments[-1]
        if self.family in REMOTE and not _local(address[0]):
            raise OSError(f"the tests block the network: connection to {address[0]}")
        return _methods[name](self, *arguments)

    return call


def _blocked_function(name):
    def call(host, *arguments, **options):
        if not _local(host):
            raise OSError(f"the tests block the network: look-up of {host}")
        return _functions[name](host, *arguments, **options)

    return call


for _name in _methods:
    setattr(socket.socket, _name, _blocked_method(_name))
for _name in _functions:
    setattr(socket, _name, _blocked_function(_name))
