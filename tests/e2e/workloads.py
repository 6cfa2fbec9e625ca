"""Workloads that ask to be scraped."""

import json

from tests.e2e.conftest import TAG

WORKLOAD = """\
apiVersion: {version}
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  {selector}
  template:
    metadata:
      labels: {{app: {name}}}
      annotations: {{prometheus.io/scrape: "true", prometheus.io/port: "8080"}}
    spec:
      {restart}
      terminationGracePeriodSeconds: 20
      containers:
        - name: web
          image: localhost/livery-injector:{tag}
          imagePullPolicy: IfNotPresent
          command: {command}
          securityContext:
            allowPrivilegeEscalation: false
            runAsNonRoot: true
            capabilities: {{drop: [ALL]}}
            seccompProfile: {{type: RuntimeDefault}}
"""


def deployment(namespace: str, name: str) -> str:
    """Write the manifest of a Deployment of one small application."""
    return WORKLOAD.format(
        version="apps/v1", kind="Deployment", name=name, namespace=namespace, tag=TAG, restart="",
        selector=f"selector: {{matchLabels: {{app: {name}}}}}",
        command=json.dumps(["python", "-m", "injector.commands.demo.app", "--port", "8080"]),
    )  # fmt: skip
