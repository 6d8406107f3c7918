"""The lab itself: nothing outlives it, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.ansible import lab

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(600),  # the root may have to be made
]
PROGRAM = """
import sys
from pathlib import Path
from tests.ansible import lab
with lab.Lab(Path(sys.argv[1])) as machines:
    one = machines.boot("one", "10.77.0.10", {})
    print(one.leader, one.process.pid, machines._holder.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def able() -> None:
    why = lab.unable()
    if why and not os.environ.get("CI"):
        pytest.skip(why)
    assert why is None, f"{why}; nothing is skipped in CI: run it as root where namespaces may be made"


def test_a_test_that_is_killed_leaves_no_machine_and_no_mount(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=lab.TREE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as test:
        assert test.stdout
        started = [psutil.Process(int(pid)) for pid in test.stdout.readline().split()]
        assert len(started) == 3
        test.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(started, timeout=lab.STOP_S)
    assert not alive
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    (tmp_path / "next").mkdir()
    with lab.Lab(tmp_path / "next"):  # the next one takes away the names that the kernel kept
        assert not [left for left in lab._groups("*") if f"-{test.pid}-" in left.name]
