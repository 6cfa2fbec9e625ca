from sidecar.roles.node.metrics import METRICS
from tests.sidecar.roles.families import FamilyTests


class TestFamilies(FamilyTests):
    families = METRICS
    prefix = "livery_node_"
