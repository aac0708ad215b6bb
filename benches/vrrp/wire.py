"""Two hosts on a bridge, each a network namespace, and what goes over the standby's interface."""

import ctypes
import os
import socket
import struct
import subprocess
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
SO_TIMESTAMPNS = 35
SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33
ETH_P_ALL = 3
PATIENCE = 60

# Addresses of the hosts; the VIP of instance N is 10.78.1.N.
ADDRESS = {"a": "10.78.0.1", "b": "10.78.0.2"}


def say(text):
    print(text, file=sys.stderr, flush=True)


class Lost(Exception):
    """A run that came out otherwise than it was set up, as on a busy machine; it is counted and left out."""


def until(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise Lost(f"waited in vain: {what}")
        time.sleep(0.02)


def vip(number):
    return f"10.78.1.{number}"


class Namespace:
    """A network namespace that lives as long as its one sleeping process."""

    def __init__(self):
        self.sleeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL)
        ours = os.readlink("/proc/self/ns/net")

        def apart():
            try:
                return os.readlink(self.path) != ours
            except FileNotFoundError:
                return False

        until("a network namespace", apart)

    @property
    def path(self):
        return f"/proc/{self.sleeper.pid}/ns/net"

    def enter(self, command):
        return ["nsenter", f"--net={self.path}", *map(str, command)]

    def run(self, *command):
        done = subprocess.run(self.enter(command), capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"error: {' '.join(map(str, command))}: {done.stderr}")
        return done.stdout

    def ip(self, text):
        return self.run("ip", *text.split())

    def close(self):
        self.sleeper.kill()
        self.sleeper.wait()


class Wire:
    """Both hosts and the bridge."""

    def __init__(self):
        self.middle, self.a, self.b = Namespace(), Namespace(), Namespace()
        self.middle.ip("link add br0 type bridge mcast_snooping 0")
        self.middle.ip("link set br0 up")
        for name, host in (("a", self.a), ("b", self.b)):
            self.middle.ip(f"link add name {name} type veth peer name eth0 netns {host.sleeper.pid}")
            self.middle.ip(f"link set dev {name} master br0 up")
            host.ip("link set lo up")
            host.ip("link set eth0 up")
            host.ip(f"addr add {ADDRESS[name]}/16 dev eth0")

    def vips(self, name):
        """How many VIPs the host has."""
        return getattr(self, name).ip("-o -4 addr show dev eth0").count(" 10.78.1.")

    def clear(self):
        """Takes off what a killed daemon has left."""
        for host in (self.a, self.b):
            for line in host.ip("-o -4 addr show dev eth0").splitlines():
                address = line.split()[3]
                if address.startswith("10.78.1."):
                    host.ip(f"addr del {address} dev eth0")

    def close(self):
        for namespace in (self.a, self.b, self.middle):
            namespace.close()


class Seen:
    """One packet: `kind` is `advert` or `garp`."""

    __slots__ = ("at", "kind", "outgoing", "priority", "vip", "length")

    def __init__(self, at, kind, outgoing, priority=None, address=None, length=0):
        self.at, self.kind, self.outgoing, self.priority, self.vip = at, kind, outgoing, priority, address
        # Of an advert, without its IP header.
        self.length = length


class Capture:
    """A packet socket in the standby's namespace. It keeps ARP, and the adverts of one virtual router."""

    def __init__(self, namespace, vrid=1):
        back = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(namespace.path, os.O_RDONLY)
        try:
            enter_namespace(there)
            # Protocol 0: nothing arrives before the filter is there.
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        finally:
            enter_namespace(back)
            os.close(there)
            os.close(back)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        attach(self.socket, vrid)
        self.socket.bind(("eth0", ETH_P_ALL))

    def read(self, timeout):
        """The next packet that counts, or `None` after so many seconds."""
        end = time.monotonic() + timeout
        while True:
            self.socket.settimeout(max(end - time.monotonic(), 0.000001))
            try:
                frame, ancillary, _, address = self.socket.recvmsg(2048, 256)
            except TimeoutError:
                return None
            seconds, nanos = struct.unpack("qq", ancillary[0][2][:16])
            seen = parse(frame, seconds + nanos * 1e-9, address[2] == socket.PACKET_OUTGOING)
            if seen:
                return seen

    def drain(self):
        """Everything that waits."""
        found = []
        while seen := self.read(0):
            found.append(seen)
        return found

    def close(self):
        self.socket.close()


def enter_namespace(descriptor):
    if LIBC.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def attach(sock, vrid):
    program = [
        (0x28, 0, 0, 12),  # ldh [12]
        (0x15, 5, 0, 0x0806),  # ARP: keep
        (0x15, 0, 5, 0x0800),  # not IPv4: drop
        (0x30, 0, 0, 23),  # ldb [23]
        (0x15, 0, 3, 112),  # not VRRP: drop
        (0x30, 0, 0, 35),  # ldb [35], behind an IP header without options
        (0x15, 0, 1, vrid),
        (0x06, 0, 0, 2048),  # keep
        (0x06, 0, 0, 0),  # drop
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code)))


def parse(frame, at, outgoing):
    if frame[12:14] == b"\x08\x06":
        sender, target = frame[28:32], frame[38:42]
        gratuitous = sender == target and sender[:3] == bytes([10, 78, 1])
        return Seen(at, "garp", outgoing, address=socket.inet_ntoa(sender)) if gratuitous else None
    length = struct.unpack("!H", frame[16:18])[0] - 20
    return Seen(at, "advert", outgoing, priority=frame[36], length=length)
