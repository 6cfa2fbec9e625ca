from sidecar.roles.aggregate.metrics import METRICS
from tests.sidecar.roles.families import FamilyTests


class TestFamilies(FamilyTests):
    families = METRICS
    prefix = "livery_aggregate_"
