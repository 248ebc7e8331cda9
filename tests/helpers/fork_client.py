"""Lets a server of forks.py run a program. It starts at once, because it imports next to nothing."""

import json
import os
import select
import signal
import socket
import sys

_MAX_ANSWER = 64  # bytes


def follow(path: str, arguments: list[str]) -> int:
    """Lets a server run a program, and returns its exit status, or a signal's negative number."""
    signals = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # until there is a process to pass them on to
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(path)
        message = json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode()
        socket.send_fds(connection, [message], [0, 1, 2])
        process = int(connection.recv(_MAX_ANSWER))
        for number in signals:
            signal.signal(number, lambda number, frame: os.kill(process, number))
        # A signal that arrives just before a read begins would not be handled before the read has ended.
        woken, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        while connection not in select.select([connection, woken], [], [])[0]:
            os.read(woken, _MAX_ANSWER)
        return int(connection.recv(_MAX_ANSWER))


if __name__ == "__main__":
    status = follow(sys.argv[1], sys.argv[2:])
    if status < 0:
        if status != -signal.SIGKILL:  # which has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)
