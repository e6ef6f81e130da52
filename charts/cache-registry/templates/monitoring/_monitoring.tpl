{{- /* Component → port of its metrics. */}}
{{- define "cache-registry.monitoring.ports" -}}
{{- if .Values.registry.enabled }}
registry: 8081
{{- end }}
webhook: 8082
controllers: 8083
proxy: {{ .Values.proxy.managementPort }}
{{- end }}

{{- define "cache-registry.monitoring.metadata" -}}
name: {{ include "cache-registry.fullname" .root }}{{ .suffix }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- $ours := include "cache-registry.labels" (dict "root" .root "component" "monitoring") | fromYaml -}}
  {{- merge $ours .labels | toYaml | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* What a monitor's endpoint takes, whichever kind it is of. */}}
{{- define "cache-registry.monitoring.endpoint" -}}
path: /metrics
interval: {{ .interval }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Selects the metrics of a component's pods in an expression. */}}
{{- define "cache-registry.monitoring.of" -}}
namespace="{{ include "cache-registry.componentNamespace" . }}",pod=~"{{ include "cache-registry.componentName" . }}-.+"
{{- end }}

{{- /* How Prometheus checks the registry's management port, where that is HTTPS. */}}
{{- define "cache-registry.monitoring.registryTls" -}}
{{- if include "cache-registry.registry.managementTls" . -}}
tlsConfig:
  serverName: {{ include "cache-registry.componentName" (dict "root" . "component" "registry") }}.{{ .Release.Namespace }}.svc
  {{- with .Values.registry.tls.caKey }}
  ca: { secret: { name: {{ include "cache-registry.registry.tlsSecretName" $ | quote }}, key: {{ . | quote }} } }
  {{- end }}
{{- end -}}
{{- end }}
