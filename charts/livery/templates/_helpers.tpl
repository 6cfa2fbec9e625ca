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
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* What monitors say of an endpoint besides its port, as a block of fields. */ -}}
{{- define "livery.endpoint" -}}
interval: {{ .interval }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "livery.selector" -}}
app.kubernetes.io/name: livery
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: injector
{{- end }}

{{- /* An image's whole name: (dict "root" . "image" .Values.injector.image) */ -}}
{{- define "livery.image" -}}
{{- $registry := .root.Values.global.imageRegistry | default .root.Values.image.registry -}}
{{- $name := printf "%s/%s" $registry .image.repository -}}
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
  description: A Prometheus of the tenant's, with --web.enable-remote-write-receiver.
  properties:
    serviceName: {type: string, maxLength: 253, description: Its Service.}
    servicePort: {type: integer, minimum: 1, maximum: 65535, description: The Service's port.}
    replicas: {type: integer, minimum: 1, maximum: 32, description: How many; each gets everything. Needs statefulSetName.}
    statefulSetName:
      type: string
      maxLength: 253
      description: The StatefulSet by whose pods' names each replica is reached.
pushgateway:
  type: object
  description: A Pushgateway of the tenant's.
  properties:
    serviceName: {type: string, maxLength: 253, description: Its Service.}
    servicePort: {type: integer, minimum: 1, maximum: 65535, description: The Service's port.}
    jobName: {type: string, maxLength: 253, description: The job under which metrics are grouped.}
    deleteOnShutdown:
      type: boolean
      description: Whether a sender deletes its groups when it ends; false by default.
remoteWrite:
  type: object
  description: Any receiver of Prometheus remote write 1.0.
  required: [url]
  properties:
    url:
      type: string
      maxLength: 2048
      pattern: '^https?://.+'
      description: Where it takes samples, as https://host/api/v1/write.
    basicAuth:
      type: object
      description: Name and password that it asks for.
      properties:
        username: {type: string, maxLength: 256, description: The name.}
        passwordSecret:
          description: A Secret of this namespace that holds the password.
          {{- include "livery.secretKey" . | nindent 10 }}
    bearerTokenSecret:
      description: A Secret of this namespace that holds a bearer token, in place of basicAuth.
      {{- include "livery.secretKey" . | nindent 6 }}
    tlsConfig:
      type: object
      description: Which CAs are trusted, and which certificate is shown.
      properties:
        caSecret:
          description: The CAs, in place of the system's.
          {{- include "livery.secretKey" . | nindent 10 }}
        certSecret:
          description: A certificate to show, with keySecret.
          {{- include "livery.secretKey" . | nindent 10 }}
        keySecret:
          description: Its key.
          {{- include "livery.secretKey" . | nindent 10 }}
        serverName:
          type: string
          maxLength: 253
          description: The name that the receiver's certificate must show; the URL's by default.
        insecureSkipVerify: {type: boolean, description: Whether any certificate is believed.}
    headers:
      type: object
      maxProperties: 32
      description: Headers of each request.
      additionalProperties: {type: string, maxLength: 4096, description: The header's value.}
{{- end }}

{{- define "livery.secretKey" -}}
type: object
required: [name, key]
properties:
  name: {type: string, maxLength: 253, description: The Secret's name.}
  key: {type: string, maxLength: 253, description: Its key.}
{{- end }}

{{- define "livery.writeOptions" -}}
extraLabels:
  type: object
  maxProperties: 64
  description: Labels that every sent series gets.
  additionalProperties: {type: string, maxLength: 4096, description: The label's value.}
honorLabels:
  type: boolean
  description: Whether a series' own label wins over extraLabels; false by default.
metricRelabelings:
  type: array
  maxItems: 100
  description: Prometheus relabel rules, before extraLabels are added.
  items:
    type: object
    description: One rule, as Prometheus has it.
    properties:
      sourceLabels:
        type: array
        maxItems: 64
        description: The labels whose values are joined.
        items: {type: string, maxLength: 256, description: A label's name.}
      separator: {type: string, maxLength: 64, description: "What joins them; ; by default."}
      regex: {type: string, maxLength: 4096, description: "RE2, anchored; (.*) by default."}
      modulus: {type: integer, format: int64, minimum: 0, description: Of hashmod.}
      targetLabel: {type: string, maxLength: 256, description: The label that is written.}
      replacement: {type: string, maxLength: 4096, description: "What is written; $1 by default."}
      action:
        type: string
        description: replace by default.
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
