{{- /* The variable that Kubernetes gives every pod of the namespace for the registry's Service. */}}
{{- define "cache-registry.proxy.registryHostVariable" -}}
{{ include "cache-registry.componentName" (dict "root" . "component" "registry") | upper | replace "-" "_" }}_SERVICE_HOST
{{- end }}

{{- define "cache-registry.proxy.config" -}}
listen: { hosts: ["127.0.0.1", "::1"], port: {{ regexFind "[0-9]+$" .Values.endpoint }} }
management: { host: 0.0.0.0, port: 8084 }
registry:
  url: {{ include "cache-registry.registry.url" . | quote }}
  connectTimeout: {{ .Values.proxy.connectTimeout | quote }}
{{- with include "cache-registry.upstreams" (dict "root" . "trusted" .Values.proxy.upstreamCredentials) }}
upstreams:
  {{- . | nindent 2 }}
{{- end }}
log:
  {{- toYaml .Values.proxy.log | nindent 2 }}
{{- end }}

{{- /* On every node, so it trades a little speed for memory: 200 slow readers stay under 128 MiB. The flags cannot be given in
       NODE_OPTIONS; the rest is the image's own entry point. */}}
{{- define "cache-registry.proxy.command" -}}
["/usr/local/bin/node", "--optimize-for-size", "--max-old-space-size=64", "/app/main.js"]
{{- end }}

{{- define "cache-registry.proxy.env" -}}
- name: MALLOC_ARENA_MAX
  value: "2"
{{- if .Values.registry.enabled }}
{{- $host := printf "$(%s)" (include "cache-registry.proxy.registryHostVariable" .) }}
# by address: the node's pulls must not wait for the cluster's DNS, whose own image may come through here
- name: CREG_REGISTRY__URL
  value: {{ include "cache-registry.registry.scheme" . }}://{{ include "cache-registry.registry.hostInUrl" (dict "root" . "host" $host) }}:5000
{{- end }}
{{- include "cache-registry.forwardProxyEnv" . }}
{{- end }}

{{- /* None: on the host network each would become a host port, and a surge update could not place the second pod. */}}
{{- define "cache-registry.proxy.ports" -}}
{{- end }}

{{- /* Names of the user's Secrets that are mounted whole. */}}
{{- define "cache-registry.proxy.secrets" -}}
{{- include "cache-registry.upstreamSecrets" (dict "root" . "trusted" .Values.proxy.upstreamCredentials) -}}
{{- end }}

{{- define "cache-registry.proxy.volumeMounts" -}}
{{- include "cache-registry.secretVolumeMounts" (include "cache-registry.proxy.secrets" . | fromYamlArray) }}
{{- end }}

{{- define "cache-registry.proxy.volumes" -}}
{{- include "cache-registry.secretVolumes" (include "cache-registry.proxy.secrets" . | fromYamlArray) }}
{{- end }}
