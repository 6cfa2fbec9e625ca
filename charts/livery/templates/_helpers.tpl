{{- define "livery.name" -}}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{- end }}
{{- define "livery.injector" -}}{{ include "livery.name" . }}-injector{{- end }}

{{- define "livery.labels" -}}
app.kubernetes.io/name: livery
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "livery.selector" -}}
app.kubernetes.io/name: livery
app.kubernetes.io/instance: {{ .Release.Name }}
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
  - name: {{ . }}
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
