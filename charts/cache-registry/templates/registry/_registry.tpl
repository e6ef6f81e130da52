{{- define "cache-registry.registry.config" -}}
{{- $registry := .Values.registry -}}
{{- $stores := include "cache-registry.registry.stores" . | fromYaml -}}
listen:
  host: {{ include "cache-registry.anyAddress" . }}
  port: 5000
  {{- if $registry.tls.enabled }}
  tls: { certFile: /etc/cache-registry/tls/tls.crt, keyFile: /etc/cache-registry/tls/tls.key }
  {{- end }}
management:
  host: {{ include "cache-registry.anyAddress" . }}
  port: 8081
  tokenFile: /etc/cache-registry/management/token
  {{- if include "cache-registry.registry.managementTls" . }}
  tls: { certFile: /etc/cache-registry/tls/tls.crt, keyFile: /etc/cache-registry/tls/tls.key }
  {{- end }}
storage:
  {{- include "cache-registry.registry.storageConfig" . | nindent 2 }}
{{- if $stores.shared }}
replica:
  # each replica's own, by its environment
  address: http://127.0.0.1:5001
  listen: { host: {{ include "cache-registry.anyAddress" . }}, port: 5001 }
  tokenFile: /etc/cache-registry/replica/token
{{- end }}
{{- with include "cache-registry.upstreams" (dict "root" . "trusted" true) }}
upstreams:
  {{- . | nindent 2 }}
{{- end }}
upstreamPolicy: {{ $registry.upstreamPolicy }}
externalNames:
  {{- include "cache-registry.registry.externalNames" . | nindent 2 }}
airGapped: {{ $registry.airGapped }}
auth:
  anonymousPull: true
  anonymousPush: false
  {{- if and $registry.auth.htpasswd.enabled $registry.auth.htpasswd.existingSecret }}
  htpasswdFile: /etc/cache-registry/auth/htpasswd
  {{- else if $registry.auth.htpasswd.enabled }}
  usernameFile: /etc/cache-registry/auth/username
  passwordFile: /etc/cache-registry/auth/password
  {{- end }}
delete: { enabled: {{ $registry.delete.enabled }} }
push: { requireBlobs: {{ $registry.push.requireBlobs }} }
gc:
  schedule: {{ $registry.garbageCollectionSchedule | quote }}
  {{- toYaml $registry.gc | nindent 2 }}
uploads:
  {{- toYaml $registry.uploads | nindent 2 }}
cache:
  {{- toYaml $registry.cache | nindent 2 }}
scrub:
  {{- with $registry.scrub.schedule }}
  schedule: {{ . | quote }}
  {{- end }}
  rate: {{ $registry.scrub.rate | quote }}
plugins: {{ toJson ($registry.plugins | default list) }}
# pulls of large blobs are given time to finish; the pod gets a little more
shutdown: { drainTimeout: 45s }
log:
  {{- toYaml $registry.log | nindent 2 }}
{{- end }}

{{- define "cache-registry.registry.env" -}}
{{- if (include "cache-registry.registry.stores" . | fromYaml).shared }}
- name: POD_IP
  valueFrom: { fieldRef: { fieldPath: status.podIP } }
- name: CREG_REPLICA__ADDRESS
  value: http://{{ include "cache-registry.registry.hostInUrl" (dict "root" . "host" "$(POD_IP)") }}:5001
{{- end }}
{{- include "cache-registry.forwardProxyEnv" . }}
{{- end }}

{{- /* Kubernetes gives IPv6 addresses without the brackets that a URL needs. */}}
{{- define "cache-registry.registry.hostInUrl" -}}
{{ eq (first (.root.Values.registry.service.ipFamilies | default list) | default "") "IPv6" | ternary (printf "[%s]" .host) .host }}
{{- end }}

{{- define "cache-registry.registry.ports" -}}
- { name: http, containerPort: 5000 }
- { name: management, containerPort: 8081 }
{{- if (include "cache-registry.registry.stores" . | fromYaml).shared }}
- { name: replica, containerPort: 5001 }
{{- end }}
{{- end }}

{{- /* Names of the user's Secrets that are mounted whole. */}}
{{- define "cache-registry.registry.secrets" -}}
{{- $storage := .Values.registry.storage -}}
{{- $names := include "cache-registry.upstreamSecrets" (dict "root" . "trusted" true) | fromYamlArray -}}
{{- with get $storage.blobs $storage.blobs.driver }}{{ $names = append $names .existingSecret }}{{ end -}}
{{- if eq $storage.metadata.driver "postgres" }}{{ $names = append $names $storage.metadata.postgres.existingSecret }}{{ end -}}
{{- toYaml $names -}}
{{- end }}

{{- define "cache-registry.registry.volumeMounts" -}}
- name: data
  mountPath: /var/lib/cache-registry
- name: management-token
  mountPath: /etc/cache-registry/management
  readOnly: true
{{- if (include "cache-registry.registry.stores" . | fromYaml).shared }}
- name: replica-token
  mountPath: /etc/cache-registry/replica
  readOnly: true
{{- end }}
{{- if .Values.registry.auth.htpasswd.enabled }}
- name: auth
  mountPath: /etc/cache-registry/auth
  readOnly: true
{{- end }}
{{- if include "cache-registry.registry.servesTls" . }}
- name: tls
  mountPath: /etc/cache-registry/tls
  readOnly: true
{{- end }}
{{- include "cache-registry.secretVolumeMounts" (dict "names" (include "cache-registry.registry.secrets" . | fromYamlArray)) }}
{{- end }}

{{- define "cache-registry.registry.volumes" -}}
{{- $registry := .Values.registry -}}
{{- include "cache-registry.registry.dataVolume" . }}
# created by the controllers at their first start; until then this pod waits
- name: management-token
  secret:
    secretName: {{ include "cache-registry.tokenSecretName" . }}
    defaultMode: 0440
    items:
      - { key: token, path: token }
{{- if (include "cache-registry.registry.stores" . | fromYaml).shared }}
# shared by the replicas; the same as the management token unless a Secret is named
- name: replica-token
  secret:
    secretName: {{ $registry.replicaToken.existingSecret | default (include "cache-registry.tokenSecretName" .) | quote }}
    defaultMode: 0440
    items:
      - { key: {{ $registry.replicaToken.key }}, path: token }
{{- end }}
{{- if $registry.auth.htpasswd.enabled }}
- name: auth
  secret:
    secretName: {{ $registry.auth.htpasswd.existingSecret | default (include "cache-registry.registry.authSecretName" .) | quote }}
    defaultMode: 0440
    {{- if $registry.auth.htpasswd.existingSecret }}
    items:
      - { key: htpasswd, path: htpasswd }
    {{- end }}
{{- end }}
{{- if include "cache-registry.registry.servesTls" . }}
- name: tls
  secret:
    secretName: {{ include "cache-registry.registry.tlsSecretName" . | quote }}
    defaultMode: 0440
    items:
      - { key: tls.crt, path: tls.crt }
      - { key: tls.key, path: tls.key }
{{- end }}
{{- include "cache-registry.secretVolumes" (dict "names" (include "cache-registry.registry.secrets" . | fromYamlArray)) }}
{{- end }}
