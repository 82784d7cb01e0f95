#!/usr/bin/env python3
"""Joins pairs of network devices: delay.py MILLISECONDS FIRST:SECOND...

What comes in at the first device of a pair leaves at the second one so much later; the other way it goes on at once. Says that it
is ready by a line, and runs until it is killed. Frames keep what the kernel knows of them (PACKET_VNET_HDR), so that segments that
a veth leaves whole, and checksums that it leaves out, stay so.
"""
import collections, select, socket, sys, time

SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING, ALL_PROTOCOLS = 263, 15, 23, 3
SO_RCVBUFFORCE = 33
BUFFER_BYTES = 64 << 20
LARGEST_FRAME = 128 << 10

Way = collections.namedtuple("Way", "sink seconds queue")  # of the queue each (when it is due, frame)


def opened(name):
    device = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    device.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    device.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    device.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    device.bind((name, ALL_PROTOCOLS))
    return device


ways = {}
for pair in sys.argv[2:]:
    first, second = map(opened, pair.split(":"))
    ways[first] = Way(second, float(sys.argv[1]) / 1e3, collections.deque())
    ways[second] = Way(first, 0, collections.deque())
print("ready", flush=True)

while True:
    due = min((way.queue[0][0] for way in ways.values() if way.queue), default=None)
    arrived, _, _ = select.select(list(ways), [], [], None if due is None else max(0, due - time.monotonic()))
    for source in arrived:
        ways[source].queue.append((time.monotonic() + ways[source].seconds, source.recv(LARGEST_FRAME)))
    for way in ways.values():
        while way.queue and way.queue[0][0] <= time.monotonic():
            try:
                way.sink.send(way.queue.popleft()[1])
            except OSError:
                pass  # its queue is full: the frame is lost, as in a switch
