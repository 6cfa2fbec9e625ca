{{- define "livery.name" -}}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{- end }}
{{- /* Webhooks are asked in the order of their configurations' names: a mesh's must see the annotation
that lets Prometheus past it. */ -}}
{{- define "livery.webhook" -}}{{ if ne .Values.injection.mesh "none" }}0-{{ end }}{{ include "livery.name" . }}{{- end }}
{{- /* The annotation that lists ports which go past a mesh; empty for none. */ -}}
{{- define "livery.exempting" -}}
{{- dict "istio" "traffic.sidecar.istio.io/excludeInboundPorts" "linkerd" "config.linkerd.io/skip-inbound-ports" | dig .Values.injection.mesh "" -}}
{{- end }}
{{- define "livery.injector" -}}{{ include "livery.name" . }}-injector{{- end }}

{{- define "livery.labels" -}}
app.kubernetes.io/name: livery
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "livery.selector" -}}
app.kubernetes.io/name: livery
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: injector
{{- end }}

{{- /* An image's whole name: (dict "root" . "image" .Values.injector.image) */ -}}
{{- define "livery.image" -}}
{{- $name := printf "%s/%s" .root.Values.image.registry .image.repository -}}
{{- if .image.digest -}}{{ $name }}@{{ .image.digest }}
{{- else -}}{{ $name }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "livery.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "livery.securityContext" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- /* Whether there is an injector at all: a policy without a control service needs none. */ -}}
{{- define "livery.runs" -}}
{{- if or .Values.control.enabled (ne .Values.injection.mode "policy") }}true{{ end -}}
{{- end }}

{{- define "livery.controlUrl" -}}
https://{{ include "livery.injector" . }}.{{ .Release.Namespace }}.svc:8444
{{- end }}

{{- /* The namespaces that are never injected. */ -}}
{{- define "livery.neverInjected" -}}
[kube-system, kube-public, kube-node-lease, {{ .Release.Namespace | quote }}]
{{- end }}

{{- /* CEL: what does not ask for a proxy never leaves the API server. */ -}}
{{- define "livery.asksForAProxy" -}}
has(object.metadata.annotations)
&& !('kubernetes.io/config.mirror' in object.metadata.annotations)
&& ('livery.dev/inject' in object.metadata.annotations
? object.metadata.annotations['livery.dev/inject'] != 'false'
: object.metadata.annotations.exists(k,
k.matches('^prometheus[^a-zA-Z0-9]io[^a-zA-Z0-9]scrape([^a-zA-Z0-9]slow)?$')
&& object.metadata.annotations[k] == 'true'))
{{- end }}

{{- /* The naming part of the label rules, as the proxy reads it. */ -}}
{{- define "livery.labelRules" -}}
{{- with .Values.labels -}}
{{- dict "prefix" .prefix "protected" (sortAlpha (uniq .protected)) "rename" .rename | toRawJson -}}
{{- end -}}
{{- end }}

{{- /* What tells an outdated proxy: the injector computes the same. */ -}}
{{- define "livery.templateHash" -}}
{{- $control := ternary (include "livery.controlUrl" .) nil .Values.control.enabled -}}
{{- $facts := dict
  "control" $control
  "image" (include "livery.image" (dict "root" . "image" .Values.sidecar.image))
  "pullPolicy" .Values.image.pullPolicy
  "pullSecrets" .Values.image.pullSecrets
  "targetLabel" .Values.exposition.targetLabel
  "version" .Chart.AppVersion -}}
{{- if ne .Values.injection.mesh "none" }}{{ $_ := set $facts "mesh" .Values.injection.mesh }}{{ end -}}
{{- if not .Values.control.enabled }}{{ $_ := set $facts "labelRules" (include "livery.labelRules" . | fromJson) }}{{ end -}}
{{- $facts | toRawJson | sha256sum | trunc 12 -}}
{{- end }}

{{- /* A regular expression of patterns in which * stands for anything; of none, what never matches. */ -}}
{{- define "livery.keyPattern" -}}
{{- $parts := list -}}
{{- range . }}{{ $parts = append $parts (regexQuoteMeta . | replace "\\*" ".*") }}{{ end -}}
{{- if $parts }}^({{ join "|" $parts }})${{ else }}[^\s\S]{{ end -}}
{{- end }}

{{- /* CEL: a string as in JSON, without its quotes. */ -}}
{{- define "livery.celEscape" -}}
.replace('\\', '\\\\').replace('"', '\\"')
{{- range $code := untilStep 0 32 1 -}}
{{- $short := dict "8" "b" "9" "t" "10" "n" "12" "f" "13" "r" | dig (toString $code) "" -}}
.replace('{{ printf "\\u%04x" $code }}', '{{ if $short }}\\{{ $short }}{{ else }}{{ printf "\\\\u%04x" $code }}{{ end }}')
{{- end -}}
{{- end }}

{{- /* What a MetricAccess object says of each kind of target. */ -}}
{{- define "livery.targetBlocks" -}}
prometheus:
  type: object
  properties:
    serviceName: {type: string, maxLength: 253}
    servicePort: {type: integer, minimum: 1, maximum: 65535}
    replicas: {type: integer, minimum: 1, maximum: 32}
    statefulSetName: {type: string, maxLength: 253}
pushgateway:
  type: object
  properties:
    serviceName: {type: string, maxLength: 253}
    servicePort: {type: integer, minimum: 1, maximum: 65535}
    jobName: {type: string, maxLength: 253}
remoteWrite:
  type: object
  required: [url]
  properties:
    url: {type: string, maxLength: 2048, pattern: '^https?://.+'}
    basicAuth:
      type: object
      properties:
        username: {type: string, maxLength: 256}
        passwordSecret:
          type: object
          required: [name, key]
          properties:
            name: {type: string, maxLength: 253}
            key: {type: string, maxLength: 253}
    headers:
      type: object
      maxProperties: 32
      additionalProperties: {type: string, maxLength: 4096}
{{- end }}

{{- define "livery.writeOptions" -}}
extraLabels:
  type: object
  maxProperties: 64
  additionalProperties: {type: string, maxLength: 4096}
honorLabels: {type: boolean}
metricRelabelings:
  type: array
  maxItems: 100
  items:
    type: object
    properties:
      sourceLabels:
        type: array
        maxItems: 64
        items: {type: string, maxLength: 256}
      separator: {type: string, maxLength: 64}
      regex: {type: string, maxLength: 4096}
      modulus: {type: integer, format: int64, minimum: 0}
      targetLabel: {type: string, maxLength: 256}
      replacement: {type: string, maxLength: 4096}
      action:
        type: string
        pattern: '^(?i:replace|keep|drop|hashmod|labelmap|labeldrop|labelkeep|lowercase|uppercase|keepequal|dropequal)$'
{{- end }}

{{- /* Namespaces of the service accounts that exporters have, joined by |. */ -}}
{{- define "livery.exporterNamespaces" -}}
{{- $names := list -}}
{{- range .Values.control.grants.exporters -}}{{- $names = append $names (. | splitList "/" | first) -}}{{- end -}}
{{- $names | uniq | sortAlpha | join "|" -}}
{{- end }}

{{- /* A number of bytes, with a unit perhaps, as a number. */ -}}
{{- define "livery.bytes" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9]+" $text | int64 -}}
{{- if hasSuffix "Ki" $text }}{{ mul $number 1024 }}{{ else if hasSuffix "Mi" $text }}{{ mul $number 1048576 }}{{ else if hasSuffix "Gi" $text }}{{ mul $number 1073741824 }}{{ else }}{{ $number }}{{ end -}}
{{- end }}
