"""Prometheus as a StatefulSet behind a headless Service: with pod discovery, or as a receiver."""

from collections.abc import Sequence

_ROLE_BINDING = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: prometheus, namespace: {scraped}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}
subjects: [{{kind: ServiceAccount, name: default, namespace: {namespace}}}]
"""
_STATEFUL_SET = """\
apiVersion: v1
kind: ConfigMap
metadata: {{name: prometheus, namespace: {namespace}}}
data:
  prometheus.yml: |
    global: {{scrape_interval: 1s, scrape_timeout: 1s}}
    scrape_configs:
    - job_name: kubernetes-pods
      kubernetes_sd_configs: [{{role: pod, namespaces: {{names: [{scraped}]}}}}]
      relabel_configs:
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
        action: keep
        regex: true
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
        target_label: __metrics_path__
        regex: (.+)
      - source_labels: [__address__, __meta_kubernetes_pod_annotation_prometheus_io_port]
        regex: ([^:]+)(?::\\d+)?;(\\d+)
        replacement: $1:$2
        target_label: __address__
      - source_labels: [__meta_kubernetes_namespace]
        target_label: namespace
---
apiVersion: v1
kind: Service
metadata: {{name: prometheus, namespace: {namespace}}}
spec:
  clusterIP: None
  selector: {{app: prometheus}}
  ports: [{{name: web, port: 9090}}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: prometheus, namespace: {namespace}}}
spec:
  serviceName: prometheus
  replicas: {replicas}
  podManagementPolicy: Parallel
  selector: {{matchLabels: {{app: prometheus}}}}
  template:
    metadata: {{labels: {{app: prometheus}}}}
    spec:
      containers:
      - name: prometheus
        image: {image}
        imagePullPolicy: IfNotPresent
        args: [--config.file=/etc/prometheus/prometheus.yml, --storage.tsdb.path=/data]
        ports: [{{name: web, containerPort: 9090}}]
        readinessProbe: {{httpGet: {{path: /-/ready, port: web}}, periodSeconds: 1}}
        volumeMounts:
        - {{name: config, mountPath: /etc/prometheus}}
        - {{name: data, mountPath: /data}}
      volumes:
      - {{name: config, configMap: {{name: prometheus}}}}
      - {{name: data, emptyDir: {{}}}}
"""


def prometheus_manifest(
    namespace: str, image: str, scraped: Sequence[str], replicas: int = 1
) -> str:
    """Write the manifests of replicas that scrape the pods of some namespaces."""
    bindings = [_ROLE_BINDING.format(scraped=name, namespace=namespace) for name in scraped]
    servers = _STATEFUL_SET.format(
        namespace=namespace, image=image, scraped=", ".join(scraped), replicas=replicas
    )
    return "---\n".join([*bindings, servers])


_RECEIVER = """\
apiVersion: v1
kind: Service
metadata: {{name: prometheus-operated, namespace: {namespace}}}
spec:
  clusterIP: None
  selector: {{app: receiver}}
  ports: [{{name: web, port: 9090}}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: prometheus-my-app, namespace: {namespace}}}
spec:
  serviceName: prometheus-operated
  replicas: 2
  podManagementPolicy: Parallel
  selector: {{matchLabels: {{app: receiver}}}}
  template:
    metadata:
      labels: {{app: receiver}}
      annotations: {{livery.dev/inject: "false"}}
    spec:
      containers:
      - name: prometheus
        image: {image}
        imagePullPolicy: IfNotPresent
        args:
        - --config.file=/dev/null
        - --storage.tsdb.path=/data
        - --web.enable-remote-write-receiver
        ports: [{{name: web, containerPort: 9090}}]
        readinessProbe: {{httpGet: {{path: /-/ready, port: web}}, periodSeconds: 1}}
        volumeMounts: [{{name: data, mountPath: /data}}]
      volumes: [{{name: data, emptyDir: {{}}}}]
"""


def receiver_manifest(namespace: str, image: str) -> str:
    """Write the manifests of two replicas that scrape nothing and accept remote write."""
    return _RECEIVER.format(namespace=namespace, image=image)
