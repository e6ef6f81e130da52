{{- /* registry.persistence with its misspelt alias merged over it. Key by key: merge functions drop a false. */}}
{{- define "cache-registry.registry.persistence" -}}
{{- $persistence := deepCopy .Values.registry.persistence -}}
{{- range $key, $value := .Values.registry.persistance -}}
{{- $_ := set $persistence $key $value -}}
{{- end -}}
{{- toYaml $persistence -}}
{{- end }}

{{- /* The names under which pods and nodes reach the registry: never dialled as upstreams. */}}
{{- define "cache-registry.registry.externalNames" -}}
{{- $service := include "cache-registry.componentName" (dict "root" . "component" "registry") -}}
{{- $names := list .Values.endpoint -}}
{{- range list "" (printf ".%s" .Release.Namespace) (printf ".%s.svc" .Release.Namespace) (printf ".%s.svc.cluster.local" .Release.Namespace) -}}
{{- $names = append $names (printf "%s%s:5000" $service .) -}}
{{- end -}}
{{- concat $names .Values.registry.externalNames | uniq | toYaml -}}
{{- end }}

{{- /* Bytes of a quantity such as 2Gi or 1.5T, times 0.8; nothing when it is 0. More than the registry can count is cut. */}}
{{- define "cache-registry.registry.mostOf" -}}
{{- $unit := regexFind "[A-Za-z]+$" . -}}
{{- $factors := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 -}}
{{- $bytes := mulf (trimSuffix $unit . | float64) (get $factors $unit) 0.8 | floor | minf 9007199254740991 | int64 -}}
{{- if gt $bytes 0 }}{{ $bytes }}{{ end -}}
{{- end }}

{{- /* Quota for cached content. The volume that the registry sees is the node's disk with an emptyDir, and with many
       provisioners: it cannot know at which size the kubelet evicts the pod. Nothing where we do not know either. */}}
{{- define "cache-registry.registry.maxSize" -}}
{{- $persistence := include "cache-registry.registry.persistence" . | fromYaml -}}
{{- if .Values.registry.storage.maxSize -}}
{{- .Values.registry.storage.maxSize | quote -}}
{{- else if not $persistence.enabled -}}
{{- include "cache-registry.registry.mostOf" .Values.registry.emptyDir.sizeLimit -}}
{{- else if not $persistence.existingClaim -}}
{{- include "cache-registry.registry.mostOf" $persistence.size -}}
{{- end -}}
{{- end }}

{{- define "cache-registry.registry.config" -}}
{{- $registry := .Values.registry -}}
listen: { host: 0.0.0.0, port: 5000 }
management: { host: 0.0.0.0, port: 8081, tokenFile: /etc/cache-registry/management/token }
storage:
  blobs: { driver: filesystem, filesystem: { path: /var/lib/cache-registry } }
  metadata: { driver: sqlite, sqlite: { path: /var/lib/cache-registry/metadata.db } }
  {{- with include "cache-registry.registry.maxSize" . }}
  maxSize: {{ . }}
  {{- end }}
{{- with .Values.upstreams }}
upstreams:
  {{- toYaml . | nindent 2 }}
{{- end }}
upstreamPolicy: {{ $registry.upstreamPolicy }}
externalNames:
  {{- include "cache-registry.registry.externalNames" . | nindent 2 }}
{{- if $registry.airGapped }}
airGapped: true
{{- end }}
auth:
  anonymousPull: true
  anonymousPush: false
  {{- if $registry.auth.htpasswd.enabled }}
  htpasswdFile: /etc/cache-registry/auth/htpasswd
  {{- end }}
delete: { enabled: {{ $registry.delete.enabled }} }
gc: { schedule: {{ $registry.garbageCollectionSchedule | quote }}, grace: {{ $registry.gc.grace | quote }} }
# pulls of large blobs are given time to finish; the pod gets a little more
shutdown: { drainTimeout: 45s }
log: { level: {{ $registry.log.level }}, access: {{ $registry.log.access }} }
{{- end }}

{{- define "cache-registry.registry.env" -}}
{{- end }}

{{- define "cache-registry.registry.ports" -}}
- { name: http, containerPort: 5000 }
- { name: management, containerPort: 8081 }
{{- end }}

{{- define "cache-registry.registry.volumeMounts" -}}
- name: data
  mountPath: /var/lib/cache-registry
- name: management-token
  mountPath: /etc/cache-registry/management
  readOnly: true
{{- if .Values.registry.auth.htpasswd.enabled }}
- name: auth
  mountPath: /etc/cache-registry/auth
  readOnly: true
{{- end }}
{{- end }}

{{- define "cache-registry.registry.volumes" -}}
{{- $persistence := include "cache-registry.registry.persistence" . | fromYaml -}}
- name: data
  {{- if $persistence.enabled }}
  persistentVolumeClaim:
    claimName: {{ $persistence.existingClaim | default (include "cache-registry.componentName" (dict "root" . "component" "registry")) | quote }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .Values.registry.emptyDir.sizeLimit }}
  {{- end }}
# created by the controllers at their first start; until then this pod waits
- name: management-token
  secret:
    secretName: {{ include "cache-registry.tokenSecretName" . }}
    defaultMode: 0440
    items:
      - { key: token, path: token }
{{- if .Values.registry.auth.htpasswd.enabled }}
- name: auth
  secret:
    secretName: {{ .Values.registry.auth.htpasswd.existingSecret | quote }}
    defaultMode: 0440
    items:
      - { key: htpasswd, path: htpasswd }
{{- end }}
{{- end }}
