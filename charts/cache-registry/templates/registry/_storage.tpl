{{- /* registry.persistence with its misspelt alias merged over it. Key by key: merge functions drop a false. */}}
{{- define "cache-registry.registry.persistence" -}}
{{- $persistence := deepCopy .Values.registry.persistence -}}
{{- range $key, $value := .Values.registry.persistance -}}
{{- $_ := set $persistence $key $value -}}
{{- end -}}
{{- toYaml $persistence -}}
{{- end }}

{{- /* What follows from the choice of stores.
       objectStore: the bytes are not on the volume.
       shared: many replicas see the same bytes and metadata, so several may run, also during an update.
       lasting: what is pushed is still there when the pod is gone. */}}
{{- define "cache-registry.registry.stores" -}}
{{- $storage := .Values.registry.storage -}}
{{- $persistence := include "cache-registry.registry.persistence" . | fromYaml -}}
{{- $objectStore := has $storage.blobs.driver (list "s3" "gcs" "azure") -}}
{{- $filesystem := eq $storage.blobs.driver "filesystem" -}}
{{- $postgres := eq $storage.metadata.driver "postgres" -}}
{{- $many := and $persistence.enabled (not $persistence.hostPath) (has "ReadWriteMany" $persistence.accessModes) -}}
objectStore: {{ $objectStore }}
shared: {{ and $postgres (or $objectStore (and $filesystem $many)) }}
lasting: {{ or (and $filesystem $persistence.enabled) (and $objectStore (or $postgres $persistence.enabled)) }}
{{- end }}

{{- /* Two processes on one SQLite file are never right; the proxies go to the upstreams meanwhile. */}}
{{- define "cache-registry.registry.strategy" -}}
{{- if (include "cache-registry.registry.stores" . | fromYaml).shared -}}
type: RollingUpdate
rollingUpdate: { maxSurge: 1, maxUnavailable: 0 }
{{- else -}}
type: Recreate
{{- end -}}
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
{{- $storage := .Values.registry.storage -}}
{{- if $storage.maxSize -}}
{{- $storage.maxSize | quote -}}
{{- else if ne $storage.blobs.driver "filesystem" -}}
{{- else if not $persistence.enabled -}}
{{- include "cache-registry.registry.mostOf" .Values.registry.emptyDir.sizeLimit -}}
{{- else if not (or $persistence.existingClaim $persistence.hostPath) -}}
{{- include "cache-registry.registry.mostOf" $persistence.size -}}
{{- end -}}
{{- end }}

{{- define "cache-registry.registry.storageConfig" -}}
{{- $storage := .Values.registry.storage -}}
blobs:
  {{- include "cache-registry.registry.blobsConfig" . | nindent 2 }}
metadata:
  driver: {{ $storage.metadata.driver }}
  {{- if eq $storage.metadata.driver "sqlite" }}
  sqlite: { path: /var/lib/cache-registry/metadata.db }
  {{- else }}
  postgres:
    {{- with $storage.metadata.postgres }}
    {{- $folder := include "cache-registry.secretFolder" .existingSecret }}
    urlFile: {{ $folder }}/{{ .urlKey }}
    {{- with .caKey }}
    caFile: {{ $folder }}/{{ . }}
    {{- end }}
    connections: {{ .connections }}
    {{- end }}
  {{- end }}
{{- if eq $storage.metadata.driver "sqlite" }}
snapshots:
  {{- toYaml $storage.snapshots | nindent 2 }}
{{- end }}
{{- with include "cache-registry.registry.maxSize" . }}
maxSize: {{ . }}
{{- end }}
{{- end }}

{{- /* What is on its way to an object store is on the volume first. */}}
{{- define "cache-registry.registry.blobsConfig" -}}
{{- $blobs := .Values.registry.storage.blobs -}}
{{- $driver := $blobs.driver -}}
driver: {{ $driver }}
{{- if eq $driver "filesystem" }}
filesystem: { path: /var/lib/cache-registry }
{{- else if ne $driver "memory" }}
{{- $store := dict "spool" "/var/lib/cache-registry/spool" -}}
{{- range $key, $value := omit (get $blobs $driver) "existingSecret" "credential" -}}
{{- if ne (toString $value) "" }}{{ $_ := set $store $key $value }}{{ end -}}
{{- end -}}
{{- with (get $blobs $driver).existingSecret -}}
{{- $folder := include "cache-registry.secretFolder" . -}}
{{- if eq $driver "s3" -}}
{{- $_ := set $store "accessKeyIdFile" (print $folder "/accessKeyId") -}}
{{- $_ := set $store "secretAccessKeyFile" (print $folder "/secretAccessKey") -}}
{{- else if eq $driver "gcs" -}}
{{- $_ := set $store "serviceAccountFile" (print $folder "/key.json") -}}
{{- else -}}
{{- $_ := set $store (print $blobs.azure.credential "File") (printf "%s/%s" $folder $blobs.azure.credential) -}}
{{- end -}}
{{- end }}
{{ $driver }}:
  {{- toYaml $store | nindent 2 }}
{{- end }}
{{- with $blobs.redirect }}
redirect: {{ . | quote }}
{{- end }}
{{- end }}

{{- define "cache-registry.registry.dataVolume" -}}
{{- $persistence := include "cache-registry.registry.persistence" . | fromYaml -}}
- name: data
  {{- if not $persistence.enabled }}
  emptyDir:
    {{- toYaml (dict "sizeLimit" .Values.registry.emptyDir.sizeLimit | merge (.Values.registry.emptyDir.medium | empty | ternary dict (dict "medium" .Values.registry.emptyDir.medium))) | nindent 4 }}
  {{- else if $persistence.hostPath }}
  hostPath:
    path: {{ $persistence.hostPath | quote }}
    type: Directory
  {{- else }}
  persistentVolumeClaim:
    claimName: {{ $persistence.existingClaim | default (include "cache-registry.componentName" (dict "root" . "component" "registry")) | quote }}
  {{- end }}
{{- end }}
