{{- define "livery.name" -}}{{ .Values.fullnameOverride | default .Release.Name | trunc 50 | trimSuffix "-" }}{{- end }}
{{- /* The API server calls webhooks in the order of their configurations' names, and this one must come before
a mesh's: the mesh must see the annotation that exempts the proxy's ports. */ -}}
{{- define "livery.webhook" -}}{{ if ne .Values.injection.mesh "none" }}0-{{ end }}{{ include "livery.name" . }}{{- end }}
{{- /* The annotation that lists ports which bypass the mesh; empty without a mesh. */ -}}
{{- define "livery.exempting" -}}
{{- dict "istio" "traffic.sidecar.istio.io/excludeInboundPorts" "linkerd" "config.linkerd.io/skip-inbound-ports" | dig .Values.injection.mesh "" -}}
{{- end }}
{{- define "livery.injector" -}}{{ include "livery.name" . }}-injector{{- end }}
{{- define "livery.account" -}}
{{- if not (or .Values.injector.serviceAccount.create .Values.injector.serviceAccount.name) -}}
{{- fail "injector.serviceAccount.create is false: set injector.serviceAccount.name to an existing ServiceAccount" -}}
{{- end -}}
{{ .Values.injector.serviceAccount.name | default (include "livery.injector" .) }}{{- end }}

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

{{- /* The fields of a monitor's endpoint, except its port. */ -}}
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

{{- define "livery.registry" -}}{{ .Values.global.imageRegistry | default .Values.image.registry }}{{- end }}

{{- /* Full reference of an image: (dict "root" . "image" .Values.injector.image) */ -}}
{{- define "livery.image" -}}
{{- $registry := include "livery.registry" .root -}}
{{- if not $registry -}}
{{- fail "image.registry is not set: push both images with `make images push IMG_REGISTRY=registry.example/livery`, then add --set image.registry=registry.example/livery" -}}
{{- end -}}
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

{{- /* Whether the injector is deployed: injection.mode policy without the control service needs none. */ -}}
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

{{- /* CEL: whether a pod requests a proxy; all other pods never leave the API server. */ -}}
{{- define "livery.asksForAProxy" -}}
has(object.metadata.annotations)
&& !('kubernetes.io/config.mirror' in object.metadata.annotations)
&& ('livery.dev/inject' in object.metadata.annotations
? object.metadata.annotations['livery.dev/inject'] != 'false'
: object.metadata.annotations.exists(k,
k.matches('^prometheus[^a-zA-Z0-9]io[^a-zA-Z0-9]scrape([^a-zA-Z0-9]slow)?$')
&& object.metadata.annotations[k] == 'true'))
{{- end }}

{{- /* The label rules that concern names, in the format that the proxy reads. */ -}}
{{- define "livery.labelRules" -}}
{{- with .Values.labels -}}
{{- dict "prefix" .prefix "protected" (sortAlpha (uniq .protected)) "rename" .rename | toRawJson -}}
{{- end -}}
{{- end }}

{{- /* Hash that identifies outdated proxies; the injector computes the same hash. */ -}}
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
{{- with .Values.sidecar.extraArgs }}{{ $_ := set $facts "extraArgs" . }}{{ end -}}
{{- with .Values.sidecar.extraEnv }}{{ $_ := set $facts "extraEnv" . }}{{ end -}}
{{- if not .Values.control.enabled }}{{ $_ := set $facts "labelRules" (include "livery.labelRules" . | fromJson) }}{{ end -}}
{{- $facts | toRawJson | sha256sum | trunc 12 -}}
{{- end }}

{{- /* Regular expression for patterns in which * matches anything; one that never matches for an empty list. */ -}}
{{- define "livery.keyPattern" -}}
{{- $parts := list -}}
{{- range . }}{{ $parts = append $parts (regexQuoteMeta . | replace "\\*" ".*") }}{{ end -}}
{{- if $parts }}^({{ join "|" $parts }})${{ else }}[^\s\S]{{ end -}}
{{- end }}

{{- /* CEL: escapes a string for JSON, without quotes. */ -}}
{{- define "livery.celEscape" -}}
.replace('\\', '\\\\').replace('"', '\\"')
{{- range $code := untilStep 0 32 1 -}}
{{- $short := dict "8" "b" "9" "t" "10" "n" "12" "f" "13" "r" | dig (toString $code) "" -}}
.replace('{{ printf "\\u%04x" $code }}', '{{ if $short }}\\{{ $short }}{{ else }}{{ printf "\\\\u%04x" $code }}{{ end }}')
{{- end -}}
{{- end }}

{{- /* CRD: fields of each kind of target of a MetricAccess object. */ -}}
{{- define "livery.targetBlocks" -}}
prometheus:
  type: object
  description: The tenant's own Prometheus; it must run with --web.enable-remote-write-receiver.
  properties:
    serviceName: {type: string, maxLength: 253, description: Name of its Service.}
    servicePort: {type: integer, minimum: 1, maximum: 65535, description: Port of its Service.}
    replicas: {type: integer, minimum: 1, maximum: 32, description: Number of replicas; each receives all samples. Needs statefulSetName.}
    statefulSetName:
      type: string
      maxLength: 253
      description: StatefulSet of the replicas; each replica is addressed by its pod's name.
pushgateway:
  type: object
  description: The tenant's own Pushgateway.
  properties:
    serviceName: {type: string, maxLength: 253, description: Name of its Service.}
    servicePort: {type: integer, minimum: 1, maximum: 65535, description: Port of its Service.}
    jobName: {type: string, maxLength: 253, description: Job under which metrics are grouped; by default each series' own.}
    deleteOnShutdown:
      type: boolean
      description: Whether a sender deletes its groups when it stops; false by default.
remoteWrite:
  type: object
  description: Any receiver of Prometheus remote write 1.0.
  required: [url]
  properties:
    url:
      type: string
      maxLength: 2048
      pattern: '^https?://.+'
      description: URL that accepts samples, such as https://host/api/v1/write.
    basicAuth:
      type: object
      description: User name and password for basic authentication.
      properties:
        username: {type: string, maxLength: 256, description: User name.}
        passwordSecret:
          description: Secret of this namespace that contains the password.
          {{- include "livery.secretKey" . | nindent 10 }}
    bearerTokenSecret:
      description: Secret of this namespace that contains a bearer token, in place of basicAuth.
      {{- include "livery.secretKey" . | nindent 6 }}
    tlsConfig:
      type: object
      description: Trusted CAs and the client certificate.
      properties:
        caSecret:
          description: Trusted CAs, in place of the system's.
          {{- include "livery.secretKey" . | nindent 10 }}
        certSecret:
          description: Client certificate; needs keySecret.
          {{- include "livery.secretKey" . | nindent 10 }}
        keySecret:
          description: Private key of the client certificate.
          {{- include "livery.secretKey" . | nindent 10 }}
        serverName:
          type: string
          maxLength: 253
          description: Name that the receiver's certificate must have; the URL's host by default.
        insecureSkipVerify: {type: boolean, description: Whether to skip verification of the receiver's certificate.}
    headers:
      type: object
      maxProperties: 32
      description: Additional headers of each request.
      additionalProperties: {type: string, maxLength: 4096, description: The header's value.}
{{- end }}

{{- define "livery.secretKey" -}}
type: object
required: [name, key]
properties:
  name: {type: string, maxLength: 253, description: The Secret's name.}
  key: {type: string, maxLength: 253, description: Key in the Secret.}
{{- end }}

{{- define "livery.writeOptions" -}}
extraLabels:
  type: object
  maxProperties: 64
  description: Labels that are added to every sent series.
  additionalProperties: {type: string, maxLength: 4096, description: The label's value.}
honorLabels:
  type: boolean
  description: Whether a series' own label takes precedence over extraLabels; false by default.
metricRelabelings:
  type: array
  maxItems: 100
  description: Prometheus relabel rules, applied before extraLabels are added.
  items:
    type: object
    description: One Prometheus relabel rule.
    properties:
      sourceLabels:
        type: array
        maxItems: 64
        description: The labels whose values are joined.
        items: {type: string, maxLength: 256, description: A label's name.}
      separator: {type: string, maxLength: 64, description: Separator of the joined values; a semicolon by default.}
      regex: {type: string, maxLength: 4096, description: "RE2, anchored; (.*) by default."}
      modulus: {type: integer, format: int64, minimum: 0, description: Modulus of the action hashmod.}
      targetLabel: {type: string, maxLength: 256, description: The label that the rule sets.}
      replacement: {type: string, maxLength: 4096, description: "The value that the rule sets; $1 by default."}
      action:
        type: string
        description: What the rule does; replace by default.
        pattern: '^(?i:replace|keep|drop|hashmod|labelmap|labeldrop|labelkeep|lowercase|uppercase|keepequal|dropequal)$'
{{- end }}

{{- /* Namespaces of the service accounts in control.grants.exporters, joined by |. */ -}}
{{- define "livery.exporterNamespaces" -}}
{{- $names := list -}}
{{- range .Values.control.grants.exporters -}}{{- $names = append $names (. | splitList "/" | first) -}}{{- end -}}
{{- $names | uniq | sortAlpha | join "|" -}}
{{- end }}

{{- /* A number of bytes, with or without a unit, as an integer. */ -}}
{{- define "livery.bytes" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9]+" $text | int64 -}}
{{- if hasSuffix "Ki" $text }}{{ mul $number 1024 }}{{ else if hasSuffix "Mi" $text }}{{ mul $number 1048576 }}{{ else if hasSuffix "Gi" $text }}{{ mul $number 1073741824 }}{{ else }}{{ $number }}{{ end -}}
{{- end }}
