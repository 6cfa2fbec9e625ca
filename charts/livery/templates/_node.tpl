{{- /* Pod template of node proxies, for the DaemonSet and the Deployment. */ -}}
{{- define "livery.nodePod" -}}
{{- $node := .Values.node -}}
{{- if not .Values.control.enabled -}}
{{- fail "node.enabled needs control.enabled: node proxies receive namespace labels from the control service" -}}
{{- end -}}
metadata:
  labels:
    {{- include "livery.labels" . | nindent 4 }}
    app.kubernetes.io/component: node
    livery.dev/proxy: node
    livery.dev/nodes: {{ ternary "all" "one" (eq $node.mode "deployment") }}
    {{- with $node.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- $annotations := dict }}
  {{- if and (eq $node.mode "daemonset") (eq $node.auth.mode "none") }}
  {{- /* The usual scrape job for annotated pods sends no token, so it fits auth.mode none only. */}}
  {{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/port" (toString $node.port) "prometheus.io/path" "/metrics/cadvisor" }}
  {{- if $node.tls.secretName }}{{ $_ := set $annotations "prometheus.io/scheme" "https" }}{{ end }}
  {{- end }}
  {{- with include "livery.discoveryArguments" . }}{{ $_ := set $annotations "checksum/discovery" (sha256sum .) }}{{ end }}
  {{- with merge $annotations $node.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "livery.name" . }}-node
  {{- include "livery.pullSecrets" . | nindent 2 }}
  {{- with $node.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- if $node.hostNetwork }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  {{- /* A Deployment that tolerates everything would keep its pods on nodes that are gone. */}}
  {{- if or (eq $node.mode "daemonset") (ne (toJson $node.tolerations) `[{"operator":"Exists"}]`) }}
  tolerations: {{- toYaml $node.tolerations | nindent 4 }}
  {{- end }}
  nodeSelector:
    kubernetes.io/os: linux
    {{- with $node.nodeSelector }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- with $node.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if eq $node.mode "deployment" }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "livery.nodeSelector" . | nindent 10 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: livery-proxy
      image: {{ include "livery.image" (dict "root" . "image" .Values.sidecar.image) | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      command: [livery-proxy]
      args: {{- include "livery.nodeArguments" . | nindent 8 }}
      env:
        - name: NODE_NAME
          valueFrom: {fieldRef: {apiVersion: v1, fieldPath: spec.nodeName}}
        - name: NODE_IP
          valueFrom: {fieldRef: {apiVersion: v1, fieldPath: status.hostIP}}
        - {name: LIVERY_CONTROL_URL, value: {{ include "livery.controlUrl" . | quote }}}
        - {name: LIVERY_CONTROL_CA_FILE, value: /var/run/livery/ca.crt}
        - {name: LIVERY_TOKEN_FILE, value: /var/run/secrets/livery/token}
        {{- with $node.extraEnv }}{{ toYaml . | nindent 8 }}{{ end }}
      ports:
        - {name: livery, containerPort: {{ $node.port }}, protocol: TCP}
        - {name: livery-admin, containerPort: {{ $node.adminPort }}, protocol: TCP}
      readinessProbe:
        httpGet: {path: /readyz, port: livery-admin}
        periodSeconds: 5
      resources: {{- toYaml $node.resources | nindent 8 }}
      securityContext: {{- include "livery.securityContext" . | nindent 8 }}
      volumeMounts:
        - {name: livery-token, mountPath: /var/run/secrets/livery, readOnly: true}
        - {name: authorities, mountPath: /var/run/livery, readOnly: true}
        {{- if include "livery.discoveryArguments" . }}
        - {name: discovery, mountPath: /etc/livery/discovery, readOnly: true}
        {{- end }}
        {{- if $node.tls.secretName }}
        - {name: tls, mountPath: /etc/livery/tls, readOnly: true}
        {{- end }}
        {{- with $node.extraVolumeMounts }}{{ toYaml . | nindent 8 }}{{ end }}
  volumes:
    - name: livery-token
      projected:
        sources:
          - serviceAccountToken: {audience: livery-control, expirationSeconds: 3600, path: token}
    - name: authorities
      configMap: {name: {{ include "livery.name" . }}-authorities, optional: true}
    {{- if include "livery.discoveryArguments" . }}
    - name: discovery
      secret: {secretName: {{ include "livery.name" . }}-discovery}
    {{- end }}
    {{- with $node.tls.secretName }}
    - name: tls
      secret: {secretName: {{ . | quote }}}
    {{- end }}
    {{- with $node.extraVolumes }}{{ toYaml . | nindent 4 }}{{ end }}
{{- end }}

{{- define "livery.nodeSelector" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: node
{{- end }}

{{- define "livery.nodeArguments" -}}
{{- $node := .Values.node -}}
- --role=node
- --auth={{ $node.auth.mode }}
{{- if ne (int $node.port) 8080 }}
- --port={{ int $node.port }}
{{- end }}
{{- if ne (int $node.adminPort) 8081 }}
- --admin-port={{ int $node.adminPort }}
{{- end }}
{{- range $node.auth.allowedServiceAccounts }}
- {{ printf "--allow-account=%s" . | quote }}
{{- end }}
{{- if eq $node.mode "deployment" }}
- --all-nodes
{{- end }}
{{- with $node.limits }}
{{- if ne (int .seriesCacheMiB) 96 }}
- --remember-mib={{ int .seriesCacheMiB }}
{{- end }}
{{- if ne (int .samples) 1000000 }}
- --max-samples={{ int .samples }}
{{- end }}
{{- if ne (int .labels) 1024 }}
- --max-labels={{ int .labels }}
{{- end }}
{{- if ne (int .mib) 512 }}
- --max-mib={{ int .mib }}
{{- end }}
{{- end }}
{{- if $node.viaApiserver }}
- --via-apiserver
{{- end }}
{{- if $node.insecureSkipTLSVerify }}
- --kubelet-insecure-skip-tls-verify
{{- end }}
{{- if $node.honorTimestamps }}
- --honor-timestamps
{{- end }}
{{- range .Values.labels.fromPods.include }}
- {{ printf "--pod-label=%s" . | quote }}
{{- end }}
{{- range .Values.labels.fromPods.annotations }}
- {{ printf "--pod-annotation=%s" . | quote }}
{{- end }}
{{- if $node.completeCgroups }}
- --complete-cgroups
{{- end }}
{{- if $node.discovery.enabled }}
- --discovery
{{- end }}
{{- if include "livery.discoveryArguments" . }}
- --discovery-config=/etc/livery/discovery/discovery.json
{{- end }}
{{- if $node.tls.secretName }}
- --tls-cert-file=/etc/livery/tls/tls.crt
- --tls-key-file=/etc/livery/tls/tls.key
{{- end }}
{{- range $node.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- /* The fields of node.discovery except `enabled`, as JSON; empty if there are none. */ -}}
{{- define "livery.discoveryArguments" -}}
{{- $given := omit .Values.node.discovery "enabled" -}}
{{- if and .Values.node.discovery.enabled $given }}{{ toRawJson $given }}{{ end -}}
{{- end }}

{{- /* Whether node proxies list their kubelets' pods. */ -}}
{{- define "livery.nodePods" -}}
{{- $from := .Values.labels.fromPods -}}
{{- if or .Values.node.discovery.enabled .Values.node.completeCgroups $from.include $from.annotations }}true{{ end -}}
{{- end }}
