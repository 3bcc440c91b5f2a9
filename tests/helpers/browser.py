"""Opens pages in a real browser, for what only a browser knows: widths, themes, keys, requests and errors of scripts."""

import atexit
import base64
import fcntl
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

Theme = Literal["light", "dark"]
HEIGHT = 800
KEYS = {
    **{"Tab": (9, ""), "Enter": (13, "\r"), "Escape": (27, ""), " ": (32, " "), "ArrowDown": (40, "")},
    **{"ArrowUp": (38, ""), "ArrowRight": (39, ""), "ArrowLeft": (37, ""), "Home": (36, ""), "End": (35, "")},
}


def _pipe() -> tuple[int, int]:
    """Both ends of a pipe. Their numbers are above those of the files that the browser reads and writes, 3 and 4."""
    ends = os.pipe()
    read, write = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return read, write


class Chromium:
    """A browser without a window, which takes commands of the DevTools protocol through a pipe."""

    def __init__(self, program: str) -> None:
        self.profile = tempfile.mkdtemp(prefix="chromium-")
        its_input, self.commands = _pipe()
        self.answers, its_output = _pipe()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--hide-scrollbars"]
        words = ["bash", "-c", f'exec "$@" 3<&{its_input} 4>&{its_output}', "bash", program, *options]
        self.process = subprocess.Popen(
            [*words, f"--user-data-dir={self.profile}", "about:blank"],
            pass_fds=(its_input, its_output),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(its_input)
        os.close(its_output)
        self.number, self.unread = 0, b""
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        os.close(self.commands)
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its result; events that come meanwhile are kept."""
        self.number += 1
        command: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        os.write(self.commands, json.dumps(command).encode() + b"\0")
        number = self.number
        while (message := self.read()).get("id") != number:
            self.events.append(message)
        assert "error" not in message, f"{method}: {message['error']}"
        return message["result"]

    def read(self) -> dict[str, Any]:
        while b"\0" not in self.unread:
            more = os.read(self.answers, 1 << 20)
            assert more, "the browser has ended"
            self.unread += more
        message, _, self.unread = self.unread.partition(b"\0")
        return json.loads(message)

    def wait_for(self, event: str, session: str) -> None:
        def is_it(message: dict[str, Any]) -> bool:
            return message.get("method") == event and message.get("sessionId") == session

        while not any(map(is_it, self.events)):
            self.events.append(self.read())


@functools.cache
def chromium() -> Chromium:
    """The browser of this process, which ends with it."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no chromium")
    browser = Chromium(program)
    atexit.register(browser.close)
    return browser


class Tab:
    """A page in the browser."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self.browser, self.session = browser, session

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.send(method, self.session, **parameters)

    def evaluate(self, script: str) -> Any:
        """The value of an expression of JavaScript."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def press(self, key: str, *, shift: bool = False) -> None:
        """Presses and releases a key: a name of `KEYS` or a letter."""
        code, text = KEYS.get(key, (ord(key[0].upper()), key))
        pressed = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.send("Input.dispatchKeyEvent", type="keyDown", **pressed, **({"text": text} if text else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def type(self, text: str) -> None:
        for letter in text:
            self.press(letter)

    def focused(self) -> str:
        """Tag and text of what has the keyboard, such as `a Results`."""
        name = "each.getAttribute('aria-label') || each.name || each.textContent.trim().split('\\n')[0].slice(0, 60)"
        return self.evaluate(f"(each => (each.tagName.toLowerCase() + ' ' + ({name})).trim())(document.activeElement)")

    def tab_stops(self, limit: int = 200) -> list[str]:
        """What the Tab key reaches, from the start of the page to its end."""
        stops: list[str] = []
        self.evaluate("document.activeElement.blur()")
        self.press("Tab")
        while (stop := self.focused()) and not stop.startswith("body") and len(stops) < limit:
            stops.append(stop)
            self.press("Tab")
        return stops

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Writes a picture of the whole page, or of what a screen shows."""
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def problems(self) -> list[str]:
        """Requests but for the page itself, errors of scripts, and errors in the console, so far."""
        self.evaluate("0")  # events before its answer have come
        found = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            words = event.get("params", {})
            if event["method"] == "Network.requestWillBeSent" and words["type"] != "Document":
                found.append(f"request: {words['request']['url']}")
            elif event["method"] == "Runtime.exceptionThrown":
                details = words["exceptionDetails"]
                found.append(f"exception: {details.get('exception', details).get('description', details['text'])}")
            elif event["method"] == "Runtime.consoleAPICalled" and words["type"] in ("error", "warning", "assert"):
                found.append(f"console: {words['args']}")
            elif event["method"] == "Log.entryAdded" and words["entry"]["level"] in ("error", "warning"):
                found.append(f"log: {words['entry']['text']}")
        return found


@contextmanager
def opened(
    page: Path, *, width: int = 1200, theme: Theme = "light", scripts: bool = True, allowed: Sequence[str] = ()
) -> Iterator[Tab]:
    """Opens the file of a page. Fails at the end if it has asked for anything else, or has had an error.

    Args:
        scripts: Whether scripts run.
        allowed: Problems that are expected, such as the request of a file beside the page.
    """
    browser = chromium()
    browser.events.clear()
    target = browser.send("Target.createTarget", url="about:blank")["targetId"]
    session = browser.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    tab = Tab(browser, session)
    try:
        for domain in ("Page", "Network", "Runtime", "Log"):
            tab.send(f"{domain}.enable")
        tab.send("Emulation.setDeviceMetricsOverride", width=width, height=HEIGHT, deviceScaleFactor=1, mobile=False)
        tab.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        tab.send("Emulation.setScriptExecutionDisabled", value=not scripts)
        tab.send("Page.navigate", url=page.resolve().as_uri())
        browser.wait_for("Page.loadEventFired", session)
        yield tab
        found = [each for each in tab.problems() if each not in allowed]
        assert not found, "\n".join(found)
    finally:
        browser.send("Target.closeTarget", targetId=target)


def screenshot(page: Path, picture: Path, *, width: int = 1200, theme: Theme = "light") -> None:
    """Writes a picture of a page, for people: `python -m tests.helpers.browser PAGE PNG [WIDTH [THEME]]`."""
    with opened(page, width=width, theme=theme) as tab:
        tab.screenshot(picture)


if __name__ == "__main__":
    words = sys.argv[1:]
    screenshot(
        Path(words[0]),
        Path(words[1]),
        width=int(words[2]) if len(words) > 2 else 1200,
        theme="dark" if words[3:] == ["dark"] else "light",
    )
