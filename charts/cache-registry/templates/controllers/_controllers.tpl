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
management: { host: {{ include "cache-registry.anyAddress" . }}, port: 8083 }
mode: {{ .Values.mode }}
endpoint: {{ .Values.endpoint }}
registry:
  url: {{ include "cache-registry.registry.managementUrl" . | quote }}
  {{- if include "cache-registry.registry.lendsToReplicas" . }}
  replicasHost: {{ include "cache-registry.componentName" (dict "root" . "component" "registry") }}-replicas
  {{- end }}
  {{- if .Values.registry.enabled }}
  tokenSecret: { name: {{ include "cache-registry.tokenSecretName" . }}, key: token }
  {{- with include "cache-registry.controllers.registryAuthority" . }}
  {{- if eq . "file" }}
  caFile: /etc/cache-registry/registry-tls/ca.crt
  {{- else }}
  caSecret: { name: {{ include "cache-registry.registry.tlsSecretName" $ }}, key: ca.crt }
  {{- end }}
  {{- end }}
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
privateImages:
  {{- toYaml .Values.privateImages | nindent 2 }}
revisionsKept: {{ .Values.controllers.revisionsKept }}
{{- with .Values.controllers.owner }}
owner: {{ . | quote }}
{{- end }}
certificates:
  {{- include "cache-registry.controllers.certificates" . | nindent 2 }}
health:
  {{- toYaml .Values.controllers.health | nindent 2 }}
loops:
  {{- toYaml .Values.controllers.loops | nindent 2 }}
clusterState: { configMap: {{ include "cache-registry.clusterStateName" . }} }
{{- if .Values.proxy.enabled }}
proxy:
  daemonSet: {{ include "cache-registry.componentName" (dict "root" . "component" "proxy") }}
  {{- with .Values.proxy.namespace }}
  namespace: {{ . | quote }}
  {{- end }}
nodeTaint:
  {{- toYaml .Values.proxy.nodeTaint | nindent 2 }}
{{- end }}
leaderElection: { enabled: true, name: {{ include "cache-registry.componentName" (dict "root" . "component" "controllers") }} }
log:
  {{- toYaml .Values.controllers.log | nindent 2 }}
{{- end }}

{{- define "cache-registry.controllers.env" -}}
- name: POD_NAMESPACE
  valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
# the owner of the Secrets that they make
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

{{- /* Where the CA is that the registry's management port is checked with: in a "file", in a "secret" that these pods make
       themselves, so that they cannot wait for a file of it, or nowhere. */}}
{{- define "cache-registry.controllers.registryAuthority" -}}
{{- if include "cache-registry.registry.managementTls" . -}}
{{- $own := list -}}
{{- range include "cache-registry.certificatesOf" (dict "root" . "issuer" "selfManaged") | fromYamlArray }}{{ $own = append $own .component }}{{ end -}}
{{- if has "registry" $own -}}
secret
{{- else if .Values.registry.tls.caKey -}}
file
{{- end -}}
{{- end -}}
{{- end }}

{{- define "cache-registry.controllers.volumeMounts" -}}
{{- if eq (include "cache-registry.controllers.registryAuthority" .) "file" }}
- name: registry-tls
  mountPath: /etc/cache-registry/registry-tls
  readOnly: true
{{- end }}
{{- include "cache-registry.secretVolumeMounts" (dict "names" (include "cache-registry.controllers.secrets" . | fromYamlArray)) }}
{{- end }}

{{- define "cache-registry.controllers.volumes" -}}
{{- if eq (include "cache-registry.controllers.registryAuthority" .) "file" }}
# no key is mounted
- name: registry-tls
  secret:
    secretName: {{ include "cache-registry.registry.tlsSecretName" . | quote }}
    defaultMode: 0440
    items:
      - { key: {{ .Values.registry.tls.caKey | quote }}, path: ca.crt }
{{- end }}
{{- include "cache-registry.secretVolumes" (dict "names" (include "cache-registry.controllers.secrets" . | fromYamlArray)) }}
{{- end }}

{{- define "cache-registry.controllers.proxyRule" -}}
# how many proxies there should be
- apiGroups: [apps]
  resources: [daemonsets]
  resourceNames: [{{ include "cache-registry.componentName" (dict "root" . "component" "proxy") }}]
  verbs: [get]
{{- end }}
