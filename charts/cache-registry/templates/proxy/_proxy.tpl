{{- /* The variable that Kubernetes gives every pod of the namespace for the registry's Service. */}}
{{- define "cache-registry.proxy.registryHostVariable" -}}
{{ include "cache-registry.componentName" (dict "root" . "component" "registry") | upper | replace "-" "_" }}_SERVICE_HOST
{{- end }}

{{- define "cache-registry.proxy.port" -}}
{{ regexFind "[0-9]+$" .Values.endpoint }}
{{- end }}

{{- define "cache-registry.proxy.config" -}}
listen:
  port: {{ include "cache-registry.proxy.port" . }}
  {{- if .Values.proxy.hostNetwork }}
  hosts: ["127.0.0.1", "::1"]
  # an update starts the next one beside this one, and a probe may have been answered by the wrong of the two
  handover: 10s
  {{- else }}
  hosts: [{{ include "cache-registry.anyAddress" . }}]
  {{- end }}
management: { host: {{ include "cache-registry.anyAddress" . }}, port: {{ .Values.proxy.managementPort }} }
registry:
  url: {{ include "cache-registry.registry.url" . | quote }}
  connectTimeout: {{ .Values.proxy.connectTimeout | quote }}
  {{- if include "cache-registry.proxy.registryCa" . }}
  caFile: /etc/cache-registry/registry-ca/ca.crt
  {{- end }}
  {{- if and .Values.registry.enabled .Values.registry.tls.enabled }}
  # it is dialled by address
  serverName: {{ include "cache-registry.componentName" (dict "root" . "component" "registry") }}.{{ .Release.Namespace }}.svc
  {{- end }}
{{- if eq .Values.mode "mirror" }}
hostsToml:
  {{- toYaml (omit .Values.proxy.hostsToml "criSocket") | nindent 2 }}
  {{- with .Values.proxy.hostsToml.criSocket }}
  probe: { criSocket: {{ . | quote }}, resultFile: /tmp/probe-pull.json }
  {{- end }}
{{- end }}
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

{{- /* Whether it knows the registry's address: variables of Services are for pods of the same namespace. From another one it
       takes the name, as a pull must not wait for the cluster's DNS: where that does not answer, it goes to the upstream. */}}
{{- define "cache-registry.proxy.byAddress" -}}
{{ and .Values.registry.enabled (eq (include "cache-registry.componentNamespace" (dict "root" . "component" "proxy")) .Release.Namespace) }}
{{- end }}

{{- define "cache-registry.proxy.env" -}}
- name: MALLOC_ARENA_MAX
  value: "2"
{{- if include "cache-registry.proxy.byAddress" . | eq "true" }}
{{- $host := printf "$(%s)" (include "cache-registry.proxy.registryHostVariable" .) }}
# by address: the node's pulls must not wait for the cluster's DNS, whose own image may come through here
- name: CREG_REGISTRY__URL
  value: {{ include "cache-registry.registry.scheme" . }}://{{ include "cache-registry.registry.hostInUrl" (dict "root" . "host" $host) }}:5000
{{- end }}
{{- include "cache-registry.forwardProxyEnv" . }}
{{- end }}

{{- /* None on the host network: each would become a host port, and a surge update could not place the second pod. */}}
{{- define "cache-registry.proxy.ports" -}}
{{- if not .Values.proxy.hostNetwork }}
{{- $port := include "cache-registry.proxy.port" . | int }}
- { name: registry, containerPort: {{ $port }}, hostPort: {{ $port }}, hostIP: 127.0.0.1 }
{{- end }}
{{- end }}

{{- /* On the host network the next one starts beside the one before; a host port can only be had one after the other. */}}
{{- define "cache-registry.proxy.updateStrategy" -}}
{{- $rolling := .Values.proxy.hostNetwork | ternary (dict "maxSurge" 1 "maxUnavailable" 0) (dict "maxUnavailable" 1) -}}
{{- .Values.proxy.updateStrategy | default (dict "type" "RollingUpdate" "rollingUpdate" $rolling) | toYaml -}}
{{- end }}

{{- /* Mode mirror: the files belong to the node's root, so something of root's writes them, and ends. The proxy itself, which
       serves requests, only looks at them. Here too when hostsToml.enabled is false: then it restores what was there. */}}
{{- define "cache-registry.proxy.initContainers" -}}
{{- if eq .Values.mode "mirror" -}}
{{- $proxy := dict "root" . "component" "proxy" -}}
- name: hosts-toml
  image: {{ include "cache-registry.image" $proxy | quote }}
  imagePullPolicy: {{ include "cache-registry.imagePullPolicy" $proxy }}
  command: {{ include "cache-registry.proxy.command" . | fromJsonArray | toJson }}
  args: [proxy, --config, /etc/cache-registry/config/config.yaml, --write-hosts-toml]
  env:
    # Whoever uninstalls changes it on the cluster, and an upgrade only sets right again what is written here.
    - { name: CREG_HOSTSTOML__ENABLED, value: {{ .Values.proxy.hostsToml.enabled | toString | quote }} }
  resources:
    {{- toYaml (.Values.proxy.resources | default dict) | nindent 4 }}
  securityContext:
    runAsNonRoot: false
    runAsUser: 0
    runAsGroup: 0
    allowPrivilegeEscalation: false
    privileged: false
    readOnlyRootFilesystem: true
    capabilities: { drop: [ALL] }
  volumeMounts:
    - name: config
      mountPath: /etc/cache-registry/config
      readOnly: true
    - name: tmp
      mountPath: /tmp
    - name: certs
      mountPath: {{ .Values.proxy.hostsToml.directory }}
    {{- with .Values.proxy.hostsToml.criSocket }}
    - name: cri-socket
      mountPath: {{ . }}
    {{- end }}
{{- end }}
{{- end }}

{{- /* Names of the user's Secrets. Without trust only their authorities are on the nodes: no key of a client certificate. */}}
{{- define "cache-registry.proxy.secrets" -}}
{{- include "cache-registry.upstreamSecrets" (dict "root" . "trusted" .Values.proxy.upstreamCredentials) -}}
{{- end }}

{{- /* Where the authority of the registry's certificate is: name and key of a Secret, or nothing. */}}
{{- define "cache-registry.proxy.registryCa" -}}
{{- $registry := .Values.registry -}}
{{- if and $registry.enabled $registry.tls.enabled $registry.tls.caKey -}}
{{- toYaml (dict "name" (include "cache-registry.registry.tlsSecretName" .) "key" $registry.tls.caKey) -}}
{{- else if and (not $registry.enabled) $registry.external.caSecret.name -}}
{{- toYaml $registry.external.caSecret -}}
{{- end -}}
{{- end }}

{{- define "cache-registry.proxy.volumeMounts" -}}
{{- if eq .Values.mode "mirror" }}
- name: certs
  mountPath: {{ .Values.proxy.hostsToml.directory }}
  readOnly: true
{{- end }}
{{- if include "cache-registry.proxy.registryCa" . }}
- name: registry-ca
  mountPath: /etc/cache-registry/registry-ca
  readOnly: true
{{- end }}
{{- include "cache-registry.secretVolumeMounts" (dict "names" (include "cache-registry.proxy.secrets" . | fromYamlArray)) }}
{{- end }}

{{- define "cache-registry.proxy.volumes" -}}
{{- if eq .Values.mode "mirror" }}
# containerd's config_path alone, nothing else of the node
- name: certs
  hostPath: { path: {{ .Values.proxy.hostsToml.directory }}, type: DirectoryOrCreate }
{{- with .Values.proxy.hostsToml.criSocket }}
- name: cri-socket
  hostPath: { path: {{ . }}, type: Socket }
{{- end }}
{{- end }}
{{- with include "cache-registry.proxy.registryCa" . | fromYaml }}
# optional: without it the cache is away, and the proxy pulls from the upstreams; so a node can always start it
- name: registry-ca
  secret:
    secretName: {{ .name | quote }}
    defaultMode: 0440
    optional: true
    items:
      - { key: {{ .key | quote }}, path: ca.crt }
{{- end }}
{{- $key := .Values.proxy.upstreamCredentials | ternary "" "ca.crt" }}
{{- include "cache-registry.secretVolumes" (dict "key" $key "names" (include "cache-registry.proxy.secrets" . | fromYamlArray)) }}
{{- end }}
