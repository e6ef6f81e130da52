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
  url: {{ include "cache-registry.registry.managementUrl" . | quote }}
  {{- if .Values.registry.enabled }}
  tokenSecret: { name: {{ include "cache-registry.tokenSecretName" . }}, key: token }
  {{- else }}
  tokenFile: {{ include "cache-registry.secretFolder" .Values.registry.external.tokenSecret.name }}/{{ .Values.registry.external.tokenSecret.key }}
  {{- with .Values.registry.external.caSecret }}
  {{- if .name }}
  caFile: {{ include "cache-registry.secretFolder" .name }}/{{ .key }}
  {{- end }}
  {{- end }}
  {{- end }}
{{- with .Values.upstreams }}
registries:
  {{- range . }}
  - {{ .registry | quote }}
  {{- end }}
{{- end }}
expiryDelay: {{ include "cache-registry.expiryDelay" . | quote }}
platforms: {{ toJson .Values.controllers.platforms }}
revisionsKept: {{ .Values.controllers.revisionsKept }}
{{- with .Values.controllers.owner }}
owner: {{ . | quote }}
{{- end }}
leaderElection: { enabled: true, name: {{ include "cache-registry.componentName" (dict "root" . "component" "controllers") }} }
log:
  {{- toYaml .Values.controllers.log | nindent 2 }}
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

{{- /* Names of the user's Secrets that are mounted whole. */}}
{{- define "cache-registry.controllers.secrets" -}}
{{- $external := .Values.registry.external -}}
{{- .Values.registry.enabled | ternary list (list $external.tokenSecret.name $external.caSecret.name) | toYaml -}}
{{- end }}

{{- define "cache-registry.controllers.volumeMounts" -}}
{{- include "cache-registry.secretVolumeMounts" (include "cache-registry.controllers.secrets" . | fromYamlArray) }}
{{- end }}

{{- define "cache-registry.controllers.volumes" -}}
{{- include "cache-registry.secretVolumes" (include "cache-registry.controllers.secrets" . | fromYamlArray) }}
{{- end }}
