"""When VIPs come and go on a host, by the kernel's own word."""

import os
import select
import socket
import struct
import time

from wire import enter_namespace

RTMGRP_IPV4_IFADDR = 0x10
RTM_NEWADDR, RTM_DELADDR = 20, 21
IFA_LOCAL = 2


class Addresses:
    """A netlink socket in a host's namespace. The times are those at which it was read: some hundredths of a millisecond late."""

    def __init__(self, namespace, name):
        self.name = name
        back, there = os.open("/proc/self/ns/net", os.O_RDONLY), os.open(namespace.path, os.O_RDONLY)
        try:
            enter_namespace(there)
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
            self.socket.bind((0, RTMGRP_IPV4_IFADDR))
        finally:
            enter_namespace(back)
            os.close(there)
            os.close(back)

    def fileno(self):
        return self.socket.fileno()

    def read(self):
        """What has happened: `(time, host, there)` for every VIP that came or went."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return []
        now, found = time.time(), []
        while len(data) >= 16:
            length, kind = struct.unpack("=IH", data[:6])
            if kind in (RTM_NEWADDR, RTM_DELADDR) and is_vip(data[24:length]):
                found.append((now, self.name, kind == RTM_NEWADDR))
            data = data[(length + 3) & ~3 :]
        return found

    def close(self):
        self.socket.close()


def is_vip(attributes):
    while len(attributes) >= 4:
        length, kind = struct.unpack("=HH", attributes[:4])
        if kind == IFA_LOCAL:
            return attributes[4:7] == bytes([10, 78, 1])
        attributes = attributes[max((length + 3) & ~3, 4) :]
    return False


def watch(sockets, seconds, enough=lambda seen: False):
    """Everything that happens on those hosts within so many seconds, or until it is enough."""
    seen, end = [], time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not enough(seen):
        for ready in select.select(sockets, [], [], min(left, 0.2))[0]:
            seen += ready.read()
    return seen
