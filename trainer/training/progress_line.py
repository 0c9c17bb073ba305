"""How a training shows its progress: a bar that is overwritten on a terminal, a line every few seconds in a log."""

import shutil
import sys
import time

LOG_SECONDS = 5.0
BAR_WIDTH = 20
_SHORTER = {"centre ": "", ", size ": " ", ", offset ": " ", "data wait ": "wait ", "  ": " "}
_TO_LINE_START = "\r\x1b[K"


class ProgressLine:
    """Writes to stdout, whatever that is at the time.

    Args:
      total: number of steps of the training.
    """

    def __init__(self, total: int) -> None:
        self._total, self._shown, self._open = total, -LOG_SECONDS, False

    def show(self, step: int, text: str) -> None:
        """Shows the bar on a terminal; in a log, one line every LOG_SECONDS and the last one."""
        last = step >= self._total
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns - 1
            print(_TO_LINE_START + self._fitting(step, text, width), end="", flush=True)
            self._open = True
            if last:
                self.close()
        elif last or time.monotonic() - self._shown >= LOG_SECONDS:
            self._shown = time.monotonic()
            print(f"progress: train step {step}/{self._total}  {text}", flush=True)

    def _fitting(self, step: int, text: str, width: int) -> str:
        """A wrapped line can't be overwritten, so a narrow terminal gets fewer words and no bar."""
        done = BAR_WIDTH * step // self._total
        line = f"{step}/{self._total}  {text}"
        short = line
        for word, shorter in _SHORTER.items():
            short = short.replace(word, shorter)
        for candidate in (f"[{'#' * done}{'-' * (BAR_WIDTH - done)}] {line}", line, short):
            if len(candidate) <= width:
                return candidate
        return short[:width]

    def close(self) -> None:
        """Leaves the bar as it is; the next output starts on a new line."""
        if self._open:
            print(flush=True)
        self._open = False


def note(text: str) -> None:
    """Prints a line in place of the bar; the bar returns below it with the next steps."""
    print((_TO_LINE_START if sys.stdout.isatty() else "") + text, flush=True)


def duration(seconds: float) -> str:
    """Minutes and seconds, with hours and days if needed: 0:07, 2:05:07, 3d 04:05:07."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02d}:{minute:02d}:{second:02d}"
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"
