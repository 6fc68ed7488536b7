"""The process `gdlab`: signals have their meaning before anything heavy is imported.

The first Ctrl-C (or SIGTERM, or SIGHUP) lets the batch that is being stored come to its end; the
second ends the process at once, which the store survives as it survives a power cut. Each is one
line and the exit code 128 + signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

CALLED: dict[int, str] = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "hung up",
}
KEPT = "what is stored stays, and the same command goes on from there"
SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it

_caught: list[int] = []
_working = False


def main() -> NoReturn:
    """Runs the command line; the process ends here."""
    global _working
    for number in CALLED:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _on_signal)
    signal.signal(signal.SIGALRM, _on_alarm)
    sys.unraisablehook = _on_ignored
    stopped = False
    try:
        from gdlab.cli.main import main as command_line

        _working = True
        code = command_line()
    except BaseException:  # a library may have turned the interrupt into an error of its own
        if not _caught:
            raise
        stopped = True
    if not _caught:
        sys.exit(code)
    if stopped or _caught[0] != signal.SIGINT:  # `gdlab ui` is ended by Ctrl-C, and returns 0
        code = 128 + _caught[0]
        _say(f"{CALLED[_caught[0]]}; {KEPT}")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    # Not sys.exit: a thread inside XLA would be torn out of C++ code, which aborts the process.
    os._exit(code)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if not _working or _is_importing_jax():  # nothing has begun that would need an end
        _say(CALLED[number])
        os._exit(128 + number)
    _caught.append(number)
    if len(_caught) == 1:
        raise KeyboardInterrupt
    _say(f"{CALLED[number]} again, ended at once; {KEPT}")
    os._exit(128 + number)


def _is_importing_jax() -> bool:
    """Whether an exception would be thrown through jaxlib's C++ code, which aborts the process."""
    return bool(getattr(getattr(sys.modules.get("jax"), "__spec__", None), "_initializing", False))


def _on_ignored(ignored: sys.UnraisableHookArgs) -> None:
    """An interrupt that came in a callback, where nothing can be raised, comes again."""
    if _caught and ignored.exc_type is KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
    else:
        sys.__unraisablehook__(ignored)


def _on_alarm(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    """A line on stderr, past Python's buffers: a handler may run while they are being written."""
    cursor = SHOW_CURSOR if os.isatty(2) else ""
    os.write(2, f"{cursor}gdlab: {text}\n".encode())
