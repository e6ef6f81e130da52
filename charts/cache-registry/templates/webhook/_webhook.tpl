{{- define "cache-registry.webhook.config" -}}
listen:
  host: {{ include "cache-registry.anyAddress" . }}
  port: 8443
  tls: { certFile: /etc/cache-registry/tls/tls.crt, keyFile: /etc/cache-registry/tls/tls.key }
management: { host: {{ include "cache-registry.anyAddress" . }}, port: 8082 }
mode: {{ .Values.mode }}
endpoint: {{ .Values.endpoint }}
{{- with .Values.upstreams }}
registries:
  {{- range . }}
  - {{ .registry | quote }}
  {{- end }}
{{- end }}
{{- if eq .Values.mode "rewrite" }}
clusterStateFile: /etc/cache-registry/cluster-state/state.json
{{- end }}
{{- $withCredentials := list }}
{{- range $upstream := .Values.upstreams }}{{ if .credentials -}}
{{- range kindIs "slice" .credentials | ternary .credentials (list .credentials) -}}
{{- $withCredentials = append $withCredentials (list $upstream.registry .prefix | compact | join "/") -}}
{{- end -}}
{{- end }}{{ end }}
{{- with $withCredentials }}
registriesWithCredentials:
  {{- toYaml . | nindent 2 }}
{{- end }}
images:
  {{- toYaml .Values.webhook.images | nindent 2 }}
privateImages:
  {{- toYaml .Values.privateImages | nindent 2 }}
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
{{- if eq .Values.mode "rewrite" }}
- name: cluster-state
  mountPath: /etc/cache-registry/cluster-state
  readOnly: true
{{- end }}
{{- end }}

{{- define "cache-registry.webhook.volumes" -}}
# made by cert-manager or by the controllers; until then this pod waits
- name: tls
  secret:
    secretName: {{ include "cache-registry.webhookCertificateSecretName" . | quote }}
    defaultMode: 0440
    items:
      - { key: tls.crt, path: tls.crt }
      - { key: tls.key, path: tls.key }
{{- if eq .Values.mode "rewrite" }}
# written by the controllers; until then nothing is rewritten
- name: cluster-state
  configMap:
    name: {{ include "cache-registry.clusterStateName" . }}
    optional: true
{{- end }}
{{- end }}
