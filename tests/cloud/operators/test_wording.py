"""Whatever the audit writes down has a name in people's languages."""

import re
from pathlib import Path

from cloud.documents.staff import DECISIONS
from cloud.operators.wording import ACTIONS
from contract.captions import SITTING

CLOUD = Path(__file__).parents[3] / "cloud"


def test_every_action_that_is_audited_has_a_name():
    found = set()
    for path in CLOUD.rglob("*.py"):
        found |= set(re.findall(r'\b(?:audit|note)\((?:[^"()]|\([^()]*\))*"([a-z-]+)"', path.read_text()))
    assert {"create-job", "sign-in", "issue-enrolment-token", "create-sitting"} <= found
    found |= {f"{event}-sitting" for event in SITTING.events}
    found |= {f"{decision}-document" for decision in DECISIONS}
    assert sorted(found - set(ACTIONS)) == []
