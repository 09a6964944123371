"""A web service for callbacks: answers by path, and one path on which it hangs."""
import asyncio
import collections
import threading
import time


class Service:
    """`/ok` answers 200, `/<number>` that status, `/hang` nothing until release()."""

    def __init__(self, port=0):
        self.arrivals = collections.defaultdict(list)  # path -> monotonic seconds
        self.hanging = 0
        self._loop = asyncio.new_event_loop()
        self._released = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(port,), daemon=True)
        self._thread.start()
        assert self._ready.wait(30)

    def _run(self, port):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", port, backlog=512))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()

    async def _serve(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            path = head.split(b" ")[1].decode()
            self.arrivals[path].append(time.monotonic())
            if path == "/hang":
                self.hanging += 1
                await self._released.wait()
                self.hanging -= 1
            status = path[1:] if path[1:].isdigit() else "200"
            writer.write(f"HTTP/1.0 {status} Told\r\n\r\n".encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def release(self):
        self._loop.call_soon_threadsafe(self._released.set)

    def stop(self):
        self.release()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
