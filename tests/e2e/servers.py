"""A Redis server of one test's own that may be killed, frozen, filled and lied about, and a proxy before it."""
import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import threading

import redis

from interop_support import free_port, missing, wait_for


class RedisServer:
    def __init__(self, folder, *arguments):
        if shutil.which("redis-server") is None:
            missing("redis-server")
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.arguments = arguments
        self.process = None
        self.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self):
        return redis.Redis(port=self.port)

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder),
             "--logfile", str(self.folder / "log"), *self.arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def up():
            with contextlib.suppress(redis.ConnectionError, redis.BusyLoadingError):
                return self.client.ping()
            return False

        wait_for(up, "redis-server answers", 30)

    def kill(self):
        """As the kernel or a power cut ends it: nothing is written any more."""
        self.process.kill()
        self.process.wait(10)

    @contextlib.contextmanager
    def frozen(self):
        """It accepts connections, the kernel does that, and never answers."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()


class Proxy:
    """Forwards TCP to a port that may change; can go silent, cut, or lose an answer. One thread for everything."""

    def __init__(self, target):
        self.target = target
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        self.pairs = {}       # socket -> its other half
        self.clients = set()  # the halves that were accepted
        self.silent = set()   # sockets whose bytes go nowhere any more
        self.accepted = 0
        self.lose_answer_to = None   # bytes in a request: its answer is lost and the connection cut
        self.lost = 0
        self.lock = threading.Lock()
        self.wake_reader, self.wake_writer = os.pipe()
        self.running = True
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def hush(self):
        """Connections of now stay open and carry nothing; new ones work (half-open, as behind a firewall that forgot)."""
        with self.lock:
            self.silent |= set(self.pairs)
            return len(self.silent) // 2

    def cut(self):
        """Resets every connection."""
        with self.lock:
            for one in list(self.pairs):
                self._close(one)

    def _close(self, one):
        other = self.pairs.pop(one, None)
        for half in (one, other):
            if half is not None:
                self.pairs.pop(half, None)
                self.silent.discard(half)
                self.clients.discard(half)
                with contextlib.suppress(OSError):
                    half.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                half.close()

    def _run(self):
        losing = set()
        while self.running:
            with self.lock:
                watched = [self.listener, self.wake_reader, *(s for s in self.pairs if s not in self.silent)]
            try:
                ready, _, _ = select.select(watched, [], [], 0.05)
            except (OSError, ValueError):
                continue
            with self.lock:
                for one in ready:
                    if one is self.wake_reader:
                        return
                    if one is self.listener:
                        near, _ = one.accept()
                        self.accepted += 1
                        try:
                            far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
                        except OSError:
                            near.close()
                            continue
                        self.pairs[near], self.pairs[far] = far, near
                        self.clients.add(near)
                        continue
                    if one not in self.pairs or one in self.silent:
                        continue
                    try:
                        data = one.recv(65536)
                        if not data:
                            self._close(one)
                            continue
                        from_client = one in self.clients
                        if from_client and self.lose_answer_to and self.lose_answer_to in data:
                            losing.add(self.pairs[one])
                        elif not from_client and one in losing:
                            losing.discard(one)
                            self.lost += 1
                            self._close(one)
                            continue
                        self.pairs[one].sendall(data)
                    except OSError:
                        self._close(one)

    def stop(self):
        self.running = False
        os.write(self.wake_writer, b"x")
        self.thread.join(5)
        self.cut()
        self.listener.close()
        os.close(self.wake_reader)
        os.close(self.wake_writer)
