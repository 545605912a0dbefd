"""Requests that schemathesis makes of tests/openapi.json, the schema of the REST interface."""
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_serve import serving

pytest.importorskip("schemathesis", reason="pip install '.[bench]'")
CASES = 10_000


@pytest.mark.slow
def test_no_request_of_the_schema_makes_the_server_fail(exported, tmp_path):
    shutil.copytree(exported[0], tmp_path / "lenet5-digits")
    command = Path(sys.executable).with_name("schemathesis")
    with serving(tmp_path / "lenet5-digits") as (address, process):
        done = subprocess.run(
            [command, "run", ROOT / "tests/openapi.json", "--url", address,
             "--checks", "not_a_server_error", "--max-examples", str(CASES // 3),
             "--suppress-health-check", "all"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:]
        assert process.poll() is None
    generated = re.search(r"([\d,]+) generated", done.stdout)
    assert generated and int(generated[1].replace(",", "")) >= CASES, done.stdout[-3000:]
