#!/usr/bin/env python3
"""Round trip to an address as ICMP sees it: `rtt.py ADDRESS [COUNT [BYTES]]` prints minimum, median, 99th percentile
and maximum in ms as JSON. The kernel answers on the other side, so this is the path and nothing else. Needs root."""

import json
import os
import socket
import statistics
import struct
import sys
import time


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_request(ident, sequence, size):
    payload = bytes(size)
    head = struct.pack("!BBHHH", 8, 0, 0, ident, sequence)
    return struct.pack("!BBHHH", 8, 0, checksum(head + payload), ident, sequence) + payload


def measure(address, count, size):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(5)
        sock.connect((address, 0))
        ident = os.getpid() & 0xFFFF
        times = []
        for sequence in range(count):
            began = time.perf_counter()
            sock.send(echo_request(ident, sequence, size))
            while True:
                packet = sock.recv(65536)
                icmp = packet[(packet[0] & 15) * 4 :]
                kind, _, _, its_ident, its_sequence = struct.unpack("!BBHHH", icmp[:8])
                if (kind, its_ident, its_sequence) == (0, ident, sequence):
                    break
            times.append((time.perf_counter() - began) * 1000)
    times.sort()
    return {
        "min_ms": round(times[0], 3),
        "median_ms": round(statistics.median(times), 3),
        "p99_ms": round(times[int(len(times) * 0.99) - 1], 3),
        "max_ms": round(times[-1], 3),
    }


if __name__ == "__main__":
    address = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    size = int(sys.argv[3]) if len(sys.argv) > 3 else 56
    print(json.dumps(measure(address, count, size - size % 2)))
