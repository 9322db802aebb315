#!/usr/bin/env python3
"""progress.py COMMAND...: runs a build by ninja and says how far it is: in one line on a terminal, else every tenth.

Whatever else it prints, warnings and errors above all, is passed on as it is.
"""

import os
import re
import subprocess
import sys

STATUS = "[%f/%t %e] "  # done, all, seconds
LINE = re.compile(r"\[(\d+)/(\d+) ([\d.]+)\] ")


def clock(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02}"


class Progress:
    """What to print for each line of ninja's."""

    def __init__(self, terminal):
        self.terminal, self.tenth, self.shown = terminal, 0, False

    def said(self, line):
        status = LINE.match(line)
        if status:
            return self.step(int(status[1]), int(status[2]), float(status[3]))
        return "" if line.startswith("ninja: no work to do") else self.clear() + line

    def step(self, done, files, seconds):
        if not done or files < 10:  # few: also what only looks for new files
            return ""
        left = f"about {clock(seconds / done * (files - done))} left" if done < files else f"took {clock(seconds)}"
        text = f"  {done} of {files} files, {left}"
        if self.terminal:
            self.shown = True
            return f"\r{text}\033[K"
        tenth, before = 10 * done // files, self.tenth
        self.tenth = tenth
        return text + "\n" if tenth != before else ""

    def clear(self):
        text, self.shown = "\r\033[K" if self.shown else "", False
        return text


def main(command):
    progress = Progress(sys.stdout.isatty())
    environment = os.environ | {"NINJA_STATUS": STATUS}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True, errors="replace") as build:
        for line in build.stdout:
            sys.stdout.write(progress.said(line))
            sys.stdout.flush()
    print(progress.clear(), end="")
    return build.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
