{{- define "livery.collectorName" -}}{{ include "livery.name" . }}-collector{{- end }}

{{- define "livery.collectorSelector" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: collector
{{- end }}

{{- define "livery.collectorMetadata" -}}
name: {{ include "livery.collectorName" . }}
namespace: {{ .Release.Namespace | quote }}
labels:
  {{- include "livery.labels" . | nindent 2 }}
  app.kubernetes.io/component: collector
{{- end }}

{{- /* Fails if values of the collector are missing or contradict each other. */ -}}
{{- define "livery.collectorCheck" -}}
{{- if not .Values.control.enabled -}}
{{- fail "remoteWrite.collector.enabled needs control.enabled: the control service sends collectors their rules" -}}
{{- end -}}
{{- if not (or .Values.gateway.backends.static .Values.gateway.backends.discovery) -}}
{{- fail "remoteWrite.collector.enabled needs a Prometheus: set gateway.backends.static or gateway.backends.discovery" -}}
{{- end -}}
{{- include "livery.backendsCheck" . -}}
{{- end }}
