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

{{- /* Why the values of the collector cannot be together; nothing where they can. */ -}}
{{- define "livery.collectorCheck" -}}
{{- if not .Values.control.enabled -}}
{{- fail "remoteWrite.collector.enabled needs control.enabled: the control service says what is collected" -}}
{{- end -}}
{{- if not (or .Values.gateway.backends.static .Values.gateway.backends.discovery) -}}
{{- fail "remoteWrite.collector.enabled needs a Prometheus: name it in gateway.backends.static, or say in gateway.backends.discovery what leads to it" -}}
{{- end -}}
{{- include "livery.backendsCheck" . -}}
{{- end }}
