#!/usr/bin/python3
"""Makes the recording that README.md shows: examples/tour.cast (asciinema, version 2) and examples/tour.svg, drawn from it.

    eval "$(scripts/test.sh --setup)" && scripts/record.py
    scripts/record.py CAST SVG      into other files; tests/live/recording.rs compares these with those that are shown

The commands really run, as root, on a libvirtd of their own in namespaces (tests/support/private_host.sh): pools, bridge
and names are those of a new host, and nothing of the machine is in the recording. The image is the small guest of the
tests (FOUNDRY_TEST_TINY) in the place of Debian's, which boots for a minute where there is no KVM. FOUNDRY names the
program. Needs python3-pyte.
"""

import fcntl
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

import draw_cast

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLUMNS, ROWS = 88, 28
# What a person at the keyboard does: each command, and what is typed at each prompt of a shell inside of it. The
# recording ends at the prompt after the last of these.
COMMANDS = [
    ("foundry create web.yaml --wait", []),
    ("foundry list", []),
    ("foundry ssh web", ["hostname", "ip route"]),
]
PROMPT = b"# "
# What a terminal does not show: colours, and the question for the place of the cursor that busybox asks.
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
# Seconds between two words that are typed, and before something is typed at a prompt or after a command.
TYPING, READING = 0.15, 1.0
# QEMU's translator sometimes loses the timer's interrupt of a guest with several processors, which then stands still
# for ever: foundry's exit code for what did not come in time, and how often it is recorded anew.
TIMED_OUT, TRIES = 6, 3


class Cast:
    """Events with their times; a pause of the recorder's own counts in no command's time."""

    def __init__(self):
        self.events, self.began, self.added = [], time.monotonic(), 0.0

    def pause(self, seconds):
        self.added += seconds

    def shows(self, text):
        self.events.append([round(time.monotonic() - self.began + self.added, 3), "o", text])

    def written(self):
        header = {"version": 2, "width": COLUMNS, "height": ROWS, "title": "foundry"}
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [header, *self.events])


def type_in(cast, command):
    cast.shows("\x1b[32m$\x1b[0m ")
    for number, word in enumerate(command.split(" ")):
        cast.pause(TYPING)
        cast.shows(" " + word if number else word)
    cast.pause(3 * TYPING)
    cast.shows("\r\n")


def run(cast, command, typed):
    """Runs a command on a terminal of its own; its exit code, 0 if it is left at the last prompt."""
    child, terminal = pty.fork()
    if child == 0:
        words = command.split()
        os.execvp(words[0], words)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    lines, seen = iter(typed), b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # EIO: the other end is closed
            break
        if not piece:
            break
        seen += piece
        cast.shows(piece.decode(errors="replace"))
        if typed and ESCAPES.sub(b"", seen).endswith(PROMPT):
            line = next(lines, None)
            if line is None:
                os.close(terminal)
                os.kill(child, signal.SIGHUP)
                os.waitpid(child, 0)
                return 0
            cast.pause(READING)
            seen = b""
            os.write(terminal, line.encode() + b"\n")
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    # A shell that ends before its last prompt was no shell.
    return code or (1 if typed else 0)


def prepare_ssh(scratch):
    """The reader's own key, in the manifest, and an ssh that has it. The guest's host key is known to foundry."""
    key = scratch / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "alice@example.com", "-f", key], check=True)
    manifest = (ROOT / "examples/simple-vm.yaml").read_text()
    public = key.with_suffix(".pub").read_text().strip()
    pathlib.Path("web.yaml").write_text(re.sub(r"ssh-ed25519 \S+ alice@example.com", public, manifest))
    wrapper = scratch / "bin/ssh"
    wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F none -i {key} "$@"\n')
    wrapper.chmod(0o755)


def inside(scratch):
    """What is done on the host that is there for it."""
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR", "FOUNDRY_VIRT_TYPE") if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, PATH=f"{scratch}/bin:/usr/sbin:/usr/bin:/sbin:/bin", TERM="xterm-256color", LC_ALL="C.UTF-8")
    # A busy machine makes no other recording: a guest that takes longer is not stopped by force.
    os.environ["FOUNDRY_DESTROY_TIMEOUT"] = "2m"
    os.environ["FOUNDRY_WAIT_TIMEOUT"] = "2m"
    os.chdir(os.environ["HOME"])
    prepare_ssh(scratch)
    subprocess.run(["ip", "address", "add", "10.20.30.1/24", "dev", "br0"], check=True)
    subprocess.run(["foundry", "-q", "image", "import", f"{scratch}/image.qcow2", "debian-12.qcow2"], check=True, stdout=sys.stderr)
    # At the first question libvirt probes QEMU, which takes seconds on a busy machine.
    subprocess.run(["virsh", "-c", "qemu:///system", "domcapabilities"], check=True, stdout=subprocess.DEVNULL)
    cast = Cast()
    for command, typed in COMMANDS:
        type_in(cast, command)
        if code := run(cast, command, typed):
            print(f"{command}: exit code {code}\n{cast.written()}", file=sys.stderr)
            sys.exit(code)
        cast.pause(READING)
    (scratch / "cast").write_text(cast.written())


def played(directory):
    """Plays it on a host of its own; the exit code."""
    scratch = pathlib.Path(directory)
    # QEMU runs as another user and must reach its disks.
    scratch.chmod(0o755)
    (scratch / "bin").mkdir()
    (scratch / "host").mkdir()
    shutil.copy(os.environ.get("FOUNDRY", ROOT / "target/debug/foundry"), scratch / "bin/foundry")
    shutil.copy(os.environ["FOUNDRY_TEST_TINY"], scratch / "image.qcow2")
    host = ["bash", ROOT / "tests/support/private_host.sh", scratch / "host", __file__, "--inside", scratch]
    namespaces = ["--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
    # All in there ends when this end of its standard input does.
    with subprocess.Popen(["unshare", *namespaces, *host], stdin=subprocess.PIPE) as running:
        return running.wait()


def record(cast, svg):
    for left in reversed(range(TRIES)):
        with tempfile.TemporaryDirectory(prefix="foundry-test-record.", dir="/var/tmp") as directory:
            code = played(directory)
            if code == 0:
                shutil.copy(pathlib.Path(directory) / "cast", cast)
                break
        if code != TIMED_OUT or not left:
            sys.exit("the recording failed")
    pathlib.Path(svg).write_text(draw_cast.drawn(pathlib.Path(cast).read_text()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(pathlib.Path(sys.argv[2]))
    else:
        record(*(sys.argv[1:] or [ROOT / "examples/tour.cast", ROOT / "examples/tour.svg"]))
