{{- define "livery.gatewayName" -}}{{ include "livery.name" . }}-gateway{{- end }}

{{- define "livery.gatewaySelector" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "livery.gatewayMetadata" -}}
name: {{ include "livery.gatewayName" . }}
namespace: {{ .Release.Namespace | quote }}
labels:
  {{- include "livery.labels" . | nindent 2 }}
  app.kubernetes.io/component: gateway
{{- end }}

{{- /* Fails if values of the gateway are missing or contradict each other. */ -}}
{{- define "livery.gatewayCheck" -}}
{{- $gateway := .Values.gateway -}}
{{- if not .Values.control.enabled -}}
{{- fail "gateway.enabled needs control.enabled: the control service sends gateways the access rules" -}}
{{- end -}}
{{- if not (or $gateway.backends.static $gateway.backends.discovery) -}}
{{- fail "gateway.enabled needs a Prometheus: set gateway.backends.static or gateway.backends.discovery" -}}
{{- end -}}
{{- if and (eq $gateway.auth.mode "trusted-header") (not $gateway.auth.trustedHeader.sources) -}}
{{- fail "gateway.auth.mode trusted-header needs gateway.auth.trustedHeader.sources: the address ranges of the authenticating proxy" -}}
{{- end -}}
{{- include "livery.backendsCheck" . -}}
{{- end }}

{{- /* Non-empty if a gateway or a collector queries the platform's Prometheus. */ -}}
{{- define "livery.asksPrometheus" -}}
{{- if or .Values.gateway.enabled .Values.remoteWrite.collector.enabled }}yes{{ end -}}
{{- end }}

{{- /* Fails if values of the backends contradict each other. */ -}}
{{- define "livery.backendsCheck" -}}
{{- $backends := .Values.gateway.backends -}}
{{- range $backends.discovery -}}
{{- if and (not .namespaces) (or $backends.tokenSecret $backends.basicAuthSecret) -}}
{{- fail "gateway.backends.discovery needs namespaces if tokenSecret or basicAuthSecret is set: otherwise a matching object in any namespace would receive the credentials" -}}
{{- end -}}
{{- end -}}
{{- if and $backends.tokenSecret $backends.basicAuthSecret -}}
{{- fail "gateway.backends: tokenSecret and basicAuthSecret must not both be set; remove one" -}}
{{- end -}}
{{- end }}

{{- define "livery.backendArguments" -}}
{{- $gateway := .Values.gateway -}}
{{- range $gateway.backends.static }}
- {{ printf "--backend=%s" . | quote }}
{{- end }}
{{- if $gateway.backends.caSecret }}
- --backend-ca-file=/etc/livery/backend-ca/ca.crt
{{- end }}
{{- if $gateway.backends.tokenSecret }}
- --backend-token-file=/etc/livery/backend-token/token
{{- end }}
{{- if $gateway.backends.basicAuthSecret }}
- --backend-user=$(LIVERY_BACKEND_USER)
- --backend-password-file=/etc/livery/backend-login/password
{{- end }}
{{- if $gateway.backends.fillGaps }}
- --fill-gaps
{{- end }}
- --backend-timeout={{ $gateway.backends.timeoutSeconds }}
- --namespace-label={{ $gateway.namespaceLabel }}
- --max-policy-age={{ int64 $gateway.maxPolicyAgeSeconds }}
{{- end }}

{{- define "livery.gatewayArguments" -}}
{{- $gateway := .Values.gateway -}}
- --role=gateway
{{- include "livery.backendArguments" . }}
{{- if $gateway.refuseUnseen }}
- --refuse-unseen
{{- end }}
- --max-concurrent-requests={{ int64 $gateway.limits.maxConcurrentRequests }}
- --limits=/etc/livery/limits/limits.yaml
{{- if $gateway.auth.usersSecret }}
- --users=/etc/livery/users/users.yaml
{{- end }}
{{- if eq $gateway.auth.mode "trusted-header" }}
- {{ printf "--trusted-header=%s" $gateway.auth.trustedHeader.name | quote }}
{{- range $gateway.auth.trustedHeader.sources }}
- {{ printf "--trusted-source=%s" . | quote }}
{{- end }}
{{- end }}
{{- if $gateway.tls.secretName }}
- --tls-cert-file=/etc/livery/tls/tls.crt
- --tls-key-file=/etc/livery/tls/tls.key
{{- end }}
- --log-level={{ $gateway.logLevel }}
{{- range $gateway.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- /* The user's Secrets that are mounted: name of the Secret by name of the volume. */ -}}
{{- define "livery.backendSecrets" -}}
{{- $backends := .Values.gateway.backends -}}
{{- $found := dict -}}
{{- with $backends.caSecret }}{{ $_ := set $found "backend-ca" . }}{{ end -}}
{{- with $backends.tokenSecret }}{{ $_ := set $found "backend-token" . }}{{ end -}}
{{- with $backends.basicAuthSecret }}{{ $_ := set $found "backend-login" . }}{{ end -}}
{{- toJson $found -}}
{{- end }}

{{- define "livery.gatewaySecrets" -}}
{{- $gateway := .Values.gateway -}}
{{- $found := fromJson (include "livery.backendSecrets" .) -}}
{{- with $gateway.auth.usersSecret }}{{ $_ := set $found "users" . }}{{ end -}}
{{- with $gateway.tls.secretName }}{{ $_ := set $found "tls" . }}{{ end -}}
{{- toJson $found -}}
{{- end }}
