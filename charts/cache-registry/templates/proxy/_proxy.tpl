{{- /* The variable that Kubernetes gives every pod of the namespace for the registry's Service. */}}
{{- define "cache-registry.proxy.registryHostVariable" -}}
{{ include "cache-registry.componentName" (dict "root" . "component" "registry") | upper | replace "-" "_" }}_SERVICE_HOST
{{- end }}

{{- define "cache-registry.proxy.config" -}}
listen: { hosts: ["127.0.0.1", "::1"], port: {{ regexFind "[0-9]+$" .Values.endpoint }} }
management: { host: 0.0.0.0, port: 8084 }
registry:
  url: http://{{ include "cache-registry.componentName" (dict "root" . "component" "registry") }}.{{ .Release.Namespace }}.svc:5000
  connectTimeout: {{ .Values.proxy.connectTimeout | quote }}
{{- with .Values.upstreams }}
upstreams:
  {{- toYaml . | nindent 2 }}
{{- end }}
log: { level: {{ .Values.proxy.log.level }} }
{{- end }}

{{- /* On every node, so it trades a little speed for memory: 200 slow readers stay under 128 MiB. The flags cannot be given in
       NODE_OPTIONS; the rest is the image's own entry point. */}}
{{- define "cache-registry.proxy.command" -}}
["/usr/local/bin/node", "--optimize-for-size", "--max-old-space-size=64", "/app/main.js"]
{{- end }}

{{- define "cache-registry.proxy.env" -}}
- name: MALLOC_ARENA_MAX
  value: "2"
# by address: the node's pulls must not wait for the cluster's DNS, whose own image may come through here
- name: CREG_REGISTRY__URL
  value: http://$({{ include "cache-registry.proxy.registryHostVariable" . }}):5000
{{- end }}

{{- /* None: on the host network each would become a host port, and a surge update could not place the second pod. */}}
{{- define "cache-registry.proxy.ports" -}}
{{- end }}

{{- define "cache-registry.proxy.volumeMounts" -}}
{{- end }}

{{- define "cache-registry.proxy.volumes" -}}
{{- end }}
