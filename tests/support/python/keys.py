"""Types lines into a real shell on a terminal, each with a TAB and Enter behind it, and prints what the shell ran.

keys.py bash|zsh|fish <LINES

The command `foundry` is a function that shows its arguments; its completion asks the program of that name.
"""

import os
import pty
import re
import select
import sys
import tempfile
import time

SHOWN = "{ printf 'RAN<%s>\\n' \"$*\"; }"
INIT = {
    "bash": ("rc", f"PS1='READY>'\nbind 'set enable-bracketed-paste off'\nsource <(command foundry completion bash)\nfoundry() {SHOWN}\n"),
    "zsh": (".zshrc", f"PS1='READY>'\nautoload -Uz compinit && compinit -u -D\nsource <(command foundry completion zsh)\nfoundry() {SHOWN}\n"),
    "fish": (
        "rc",
        "function fish_prompt; printf 'READY>'; end\nfunction fish_greeting; end\ncommand foundry completion fish | source\n"
        "function foundry; printf 'RAN<%s>\\n' \"$argv\"; end\n",
    ),
}
PATIENCE = 120


def arguments(shell, directory):
    file = os.path.join(directory, INIT[shell][0])
    with open(file, "w") as rc:
        rc.write(INIT[shell][1])
    return {
        "bash": ["bash", "--noprofile", "--rcfile", file, "-i"],
        "zsh": ["zsh", "-d", "-i"],
        "fish": ["fish", "--no-config", "-i", "-C", f"source {file}"],
    }[shell]


class Terminal:
    def __init__(self, fd):
        self.fd, self.seen = fd, ""

    def wait(self, pattern):
        """What the pattern finds first in what was not looked at yet."""
        end = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.seen)):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                sys.exit(f"the shell did not show {pattern!r}: {self.seen!r}")
            self.seen += os.read(self.fd, 65536).decode(errors="replace")
        self.seen = self.seen[found.end() :]
        return found


def main():
    shell, lines = sys.argv[1], sys.stdin.read().splitlines()
    with tempfile.TemporaryDirectory() as directory:
        command = arguments(shell, directory)
        pid, fd = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm", ZDOTDIR=directory, HOME=directory)
            os.execvp(command[0], command)
        terminal = Terminal(fd)
        terminal.wait("READY>")
        for line in lines:
            os.write(fd, f"{line}\t\r".encode())
            print(terminal.wait("RAN<([^>]*)>").group(1))
            terminal.wait("READY>")
        os.write(fd, b"exit\r")
        os.waitpid(pid, 0)


main()
