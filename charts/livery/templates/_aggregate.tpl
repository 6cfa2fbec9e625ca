{{- /* The name of an aggregate's objects: (dict "root" . "aggregate" item) */ -}}
{{- define "livery.aggregateName" -}}
{{- printf "%s-aggregate-%s" (include "livery.name" .root | trunc 30 | trimSuffix "-") .aggregate.name -}}
{{- end }}

{{- define "livery.aggregateSelector" -}}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: aggregate
livery.dev/aggregate: {{ .aggregate.name | quote }}
{{- end }}

{{- define "livery.aggregateMetadata" -}}
name: {{ include "livery.aggregateName" . }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- include "livery.labels" .root | nindent 2 }}
  app.kubernetes.io/component: aggregate
  livery.dev/aggregate: {{ .aggregate.name | quote }}
{{- end }}

{{- define "livery.aggregateArguments" -}}
{{- $one := .aggregate -}}
- --role=aggregate
- {{ printf "--pod-label-selector=%s" $one.selector | quote }}
{{- if not (has "*" $one.namespaces) }}
{{- range $one.namespaces }}
- {{ printf "--namespace=%s" . | quote }}
{{- end }}
{{- end }}
{{- with $one.labels }}
{{- range $key := list "namespace" "pod" "target" }}
{{- with get $one.labels $key }}
- {{ printf "--%s-label=%s" $key . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- with $one.upName }}
- {{ printf "--up-name=%s" . | quote }}
{{- end }}
{{- with $one.onConflict }}
- --on-conflict={{ . }}
{{- end }}
{{- with $one.timeout }}
- {{ printf "--timeout=%s" . | quote }}
{{- end }}
{{- with $one.limits }}
{{- range $key, $flag := dict "samples" "samples-limit" "labels" "labels-limit" "bytes" "bytes-limit" "totalSamples" "total-samples-limit" "concurrency" "concurrency" }}
{{- with get $one.limits $key }}
- --{{ $flag }}={{ if kindIs "string" . }}{{ . }}{{ else }}{{ int64 . }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- range $one.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- /* The control service's grants for aggregates: those of the values, and one for each of the chart's. */ -}}
{{- define "livery.aggregateGrants" -}}
{{- $grants := .Values.control.grants.aggregates -}}
{{- range .Values.aggregates -}}
{{- $account := printf "%s/%s" $.Release.Namespace (include "livery.aggregateName" (dict "root" $ "aggregate" .)) -}}
{{- $grants = append $grants (dict "serviceAccount" $account "namespaces" .namespaces) -}}
{{- end -}}
{{- toJson $grants -}}
{{- end }}
