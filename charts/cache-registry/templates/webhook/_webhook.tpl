{{- define "cache-registry.webhook.config" -}}
listen:
  host: 0.0.0.0
  port: 8443
  tls: { certFile: /etc/cache-registry/tls/tls.crt, keyFile: /etc/cache-registry/tls/tls.key }
management: { host: 0.0.0.0, port: 8082 }
mode: {{ .Values.mode }}
endpoint: {{ .Values.endpoint }}
{{- with .Values.upstreams }}
registries:
  {{- range . }}
  - {{ .registry | quote }}
  {{- end }}
{{- end }}
{{- $withCredentials := list }}
{{- range .Values.upstreams }}{{ if .credentials }}{{ $withCredentials = append $withCredentials .registry }}{{ end }}{{ end }}
{{- with $withCredentials }}
registriesWithCredentials:
  {{- toYaml . | nindent 2 }}
{{- end }}
images:
  {{- toYaml .Values.webhook.images | nindent 2 }}
owners:
  {{- toYaml .Values.webhook.owners | nindent 2 }}
optIn: {{ eq (toString .Values.webhook.optIn) "pod" }}
dryRun: {{ .Values.webhook.dryRun }}
# serve on until no API server sends here any more
shutdown: { grace: 5s, drainTimeout: 10s }
log:
  {{- toYaml .Values.webhook.log | nindent 2 }}
{{- end }}

{{- define "cache-registry.webhook.env" -}}
{{- end }}

{{- define "cache-registry.webhook.ports" -}}
- { name: https, containerPort: 8443 }
- { name: management, containerPort: 8082 }
{{- end }}

{{- define "cache-registry.webhook.volumeMounts" -}}
- name: tls
  mountPath: /etc/cache-registry/tls
  readOnly: true
{{- end }}

{{- define "cache-registry.webhook.volumes" -}}
- name: tls
  secret:
    secretName: {{ include "cache-registry.webhookCertificateSecretName" . | quote }}
    defaultMode: 0440
{{- end }}

{{- /* Where the webhook's certificate comes from: certManager or existingSecret. */}}
{{- define "cache-registry.certificateSource" -}}
{{- $mode := .Values.certificates.mode -}}
{{- if has $mode (list "certManager" "existingSecret") -}}
{{ $mode }}
{{- else if ne $mode "auto" -}}
{{- fail (printf "certificates.mode %q is not offered: it can be auto, certManager or existingSecret." $mode) -}}
{{- else if .Values.certificates.existingSecret -}}
existingSecret
{{- else if .Capabilities.APIVersions.Has "cert-manager.io/v1" -}}
certManager
{{- else -}}
{{- $service := include "cache-registry.componentName" (dict "root" . "component" "webhook") -}}
{{- fail (printf "The webhook needs a certificate: install cert-manager (its API cert-manager.io/v1 was not found), or set certificates.existingSecret to a TLS Secret for %s.%s.svc and certificates.caBundle to the CA that signed it." $service .Release.Namespace) -}}
{{- end -}}
{{- end }}

{{- /* The CA for the API server, base64, from PEM text or base64. */}}
{{- define "cache-registry.caBundle" -}}
{{- if contains "-----BEGIN" .Values.certificates.caBundle -}}
{{ .Values.certificates.caBundle | b64enc }}
{{- else -}}
{{ regexReplaceAll "\\s" .Values.certificates.caBundle "" }}
{{- end -}}
{{- end }}
