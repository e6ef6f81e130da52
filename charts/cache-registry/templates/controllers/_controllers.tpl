{{- /* cachedImagesExpiryDelay as a duration: a bare number is days. */}}
{{- define "cache-registry.expiryDelay" -}}
{{- $delay := .Values.cachedImagesExpiryDelay -}}
{{- if kindIs "string" $delay -}}
{{ ternary (printf "%sd" $delay) $delay (regexMatch "^[0-9]+$" $delay) }}
{{- else -}}
{{ int64 $delay }}d
{{- end -}}
{{- end }}

{{- define "cache-registry.controllers.config" -}}
management: { host: 0.0.0.0, port: 8083 }
mode: {{ .Values.mode }}
endpoint: {{ .Values.endpoint }}
registry:
  url: http://{{ include "cache-registry.componentName" (dict "root" . "component" "registry") }}:8081
  tokenSecret: { name: {{ include "cache-registry.tokenSecretName" . }}, key: token }
{{- with .Values.upstreams }}
registries:
  {{- range . }}
  - {{ .registry | quote }}
  {{- end }}
{{- end }}
expiryDelay: {{ include "cache-registry.expiryDelay" . | quote }}
platforms: {{ toJson .Values.controllers.platforms }}
revisionsKept: {{ .Values.controllers.revisionsKept }}
leaderElection: { enabled: true, name: {{ include "cache-registry.componentName" (dict "root" . "component" "controllers") }} }
log: { level: {{ .Values.controllers.log.level }} }
{{- end }}

{{- define "cache-registry.controllers.env" -}}
- name: POD_NAMESPACE
  valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
# the owner of the management token's Secret
- name: DEPLOYMENT_NAME
  value: {{ include "cache-registry.componentName" (dict "root" . "component" "controllers") }}
{{- end }}

{{- define "cache-registry.controllers.ports" -}}
- { name: management, containerPort: 8083 }
{{- end }}

{{- define "cache-registry.controllers.volumeMounts" -}}
{{- end }}

{{- define "cache-registry.controllers.volumes" -}}
{{- end }}
