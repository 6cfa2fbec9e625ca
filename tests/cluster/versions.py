"""Features that older Kubernetes lacks: `make compat` runs these tests with old versions, too."""

import pytest

from tests.real_parts.kubernetes_versions import chosen_version

_VERSION = chosen_version()
needs_mutating_policies = pytest.mark.skipif(
    _VERSION < (1, 36, 0), reason="MutatingAdmissionPolicy needs Kubernetes 1.36"
)
needs_validating_policies = pytest.mark.skipif(
    _VERSION < (1, 30, 0), reason="ValidatingAdmissionPolicy needs Kubernetes 1.30"
)
