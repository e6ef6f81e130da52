{{- /* Secrets of the user's own, each mounted whole in a folder of its name: files in it change when the Secret does, and a
       configuration that names another of its keys needs no other volume. */}}
{{- define "cache-registry.secretFolder" -}}
/etc/cache-registry/secrets/{{ . }}
{{- end }}

{{- /* Names of Secrets may be longer than names of volumes, and have dots. */}}
{{- define "cache-registry.secretVolumeName" -}}
secret-{{ sha256sum . | trunc 12 }}
{{- end }}

{{- /* Argument: names, repeated ones and empty ones too. */}}
{{- define "cache-registry.secretVolumes" -}}
{{- range compact . | uniq }}
- name: {{ include "cache-registry.secretVolumeName" . }}
  secret:
    secretName: {{ . | quote }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{- define "cache-registry.secretVolumeMounts" -}}
{{- range compact . | uniq }}
- name: {{ include "cache-registry.secretVolumeName" . }}
  mountPath: {{ include "cache-registry.secretFolder" . }}
  readOnly: true
{{- end }}
{{- end }}
