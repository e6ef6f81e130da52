{{- /* Secrets of the user's own, each mounted whole in a folder of its name: files in it change when the Secret does, and a
       configuration that names another of its keys needs no other volume. */}}
{{- define "cache-registry.secretFolder" -}}
/etc/cache-registry/secrets/{{ . }}
{{- end }}

{{- /* Names of Secrets may be longer than names of volumes, and have dots. */}}
{{- define "cache-registry.secretVolumeName" -}}
secret-{{ sha256sum . | trunc 12 }}
{{- end }}

{{- /* Argument: (dict "names" (list …)), repeated and empty ones too, and "key" where only that one is to be there. */}}
{{- define "cache-registry.secretVolumes" -}}
{{- $key := .key -}}
{{- range compact .names | uniq }}
- name: {{ include "cache-registry.secretVolumeName" . }}
  secret:
    secretName: {{ . | quote }}
    defaultMode: 0440
    {{- with $key }}
    items:
      - { key: {{ . }}, path: {{ . }} }
    {{- end }}
{{- end }}
{{- end }}

{{- define "cache-registry.secretVolumeMounts" -}}
{{- range compact .names | uniq }}
- name: {{ include "cache-registry.secretVolumeName" . }}
  mountPath: {{ include "cache-registry.secretFolder" . }}
  readOnly: true
{{- end }}
{{- end }}
