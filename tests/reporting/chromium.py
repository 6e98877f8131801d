"""A headless Chromium, driven through its DevTools protocol: for tests of pages that people use."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

#: Seconds until a browser that does not answer is an error.
PATIENCE = 120.0


def executable() -> str | None:
    """Return where a Chromium is; None: nowhere on PATH."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for found in map(shutil.which, names) if found), None)


class Chromium:
    """One browser with one page; a context manager.

    Parameters
    ----------
    folder
        For its profile; browsers that share one share what pages keep.
    downloads
        Where it saves files.
    """

    def __init__(self, folder: Path, downloads: Path) -> None:
        self._profile, self._downloads = folder, downloads
        self._loop = asyncio.new_event_loop()
        self._number = 0
        #: Everything that the page wrote to the console, and errors.
        self.console: list[str] = []

    def __enter__(self) -> Chromium:
        program = executable()
        assert program is not None
        self._downloads.mkdir(parents=True, exist_ok=True)
        port_file = self._profile / "DevToolsActivePort"
        port_file.unlink(missing_ok=True)
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
            "--disable-component-update", "--no-first-run", "--remote-debugging-port=0", "--hide-scrollbars",
            f"--user-data-dir={self._profile}", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + PATIENCE
            while not (port_file.exists() and len(port_file.read_text().splitlines()) == 2):
                assert time.monotonic() < deadline, "chromium did not start"
                assert self._process.poll() is None, "chromium ended"
                time.sleep(0.05)
            port, path = port_file.read_text().splitlines()
            self._socket: WebSocketClientConnection = self._loop.run_until_complete(
                self._connect(f"ws://127.0.0.1:{port}{path}")
            )
            self._session = ""
            target = self.send("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.send(f"{domain}.enable")
            self.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(self._downloads))
        except BaseException:
            self._stop()
            raise
        return self

    @staticmethod
    async def _connect(url: str) -> WebSocketClientConnection:
        request = HTTPRequest(url, connect_timeout=PATIENCE, request_timeout=PATIENCE)
        return await websocket_connect(request, max_message_size=2**28)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:  # a browser that is killed may not have written what pages keep
                self._session = ""
                self.send("Browser.close")
                self._process.wait(PATIENCE)
            self._loop.run_until_complete(self._close())
        finally:
            self._stop()

    async def _close(self) -> None:
        self._socket.close()  # asks for the running loop
        await asyncio.sleep(0)

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._loop.close()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come before are looked through."""
        return self._loop.run_until_complete(asyncio.wait_for(self._send(method, parameters), PATIENCE))

    async def _send(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        await self._socket.write_message(json.dumps(message))
        while True:
            text = await self._socket.read_message()
            assert text is not None, "chromium closed the connection"
            answer = json.loads(text)
            self._note(answer)
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return dict(answer["result"])

    def _note(self, event: dict[str, Any]) -> None:
        name, values = event.get("method"), event.get("params", {})
        if name == "Runtime.exceptionThrown":
            self.console.append(str(values["exceptionDetails"]))
        elif name == "Log.entryAdded":
            self.console.append(str(values["entry"]["text"]))
        elif name == "Network.requestWillBeSent":
            url = values["request"]["url"]
            if not url.startswith(("file:", "data:", "blob:", "about:")):
                self.console.append(f"asked for {url}")

    def open(self, path: Path) -> None:
        """Open a file as a page, and wait until it is complete."""
        self.run("window.isLeft = true")  # a page that is opened again has the same address as the one that is left
        self.send("Page.navigate", url=path.as_uri())
        here = f"location.href === {json.dumps(path.as_uri())}"
        self.wait(f"!window.isLeft && {here} && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Evaluate JavaScript (a promise is awaited) and return its value."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until JavaScript is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.run(condition):
            assert time.monotonic() < deadline, f"never true: {condition}"
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """Press and release a key, as a person does: `ArrowLeft`, `u`, `Tab`, `Enter`."""
        more = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        codes = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        code = codes.get(key, ord(key[0].upper()))
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **more)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def tap(self, point: dict[str, float]) -> None:
        """Touch the page at a point."""
        self.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[point])
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def window(self, width: int, height: int, *, dark: bool = False, touch: bool = False) -> None:
        """Set the size of the window, pixels, and what the reader prefers."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch
        )  # fmt: skip
        self.send("Emulation.setTouchEmulationEnabled", enabled=touch)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        """Save what the window shows as a PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))
