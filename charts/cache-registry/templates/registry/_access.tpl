{{- /* The names under which pods and nodes reach the registry: never dialled as upstreams. */}}
{{- define "cache-registry.registry.externalNames" -}}
{{- $registry := .Values.registry -}}
{{- $service := include "cache-registry.componentName" (dict "root" . "component" "registry") -}}
{{- $names := list .Values.endpoint -}}
{{- range list "" (printf ".%s" .Release.Namespace) (printf ".%s.svc" .Release.Namespace) (printf ".%s.svc.%s" .Release.Namespace .Values.clusterDomain) -}}
{{- $names = append $names (printf "%s%s:5000" $service .) -}}
{{- end -}}
{{- if $registry.ingress.enabled }}{{ $names = concat $names ($registry.ingress.hosts | default list) }}{{ end -}}
{{- if $registry.httpRoute.enabled }}{{ $names = concat $names ($registry.httpRoute.hostnames | default list) }}{{ end -}}
{{- if $registry.istio.enabled }}{{ $names = concat $names ($registry.istio.hosts | default list) }}{{ end -}}
{{- concat $names ($registry.externalNames | default list) | uniq | toYaml -}}
{{- end }}

{{- /* The host names of a route: its own, and one for each upstream that has some. Argument: (dict "root" $ "hosts" (list …)). */}}
{{- define "cache-registry.registry.routeHosts" -}}
{{- $hosts := .hosts | default list -}}
{{- range .root.Values.upstreams -}}
{{- range .hosts }}{{ $hosts = append $hosts (regexReplaceAll ":[0-9]+$" . "") }}{{ end -}}
{{- end -}}
{{- uniq $hosts | toYaml -}}
{{- end }}

{{- define "cache-registry.registry.authSecretName" -}}
{{ include "cache-registry.componentName" (dict "root" . "component" "registry") }}-auth
{{- end }}

{{- define "cache-registry.registry.tlsSecretName" -}}
{{ .Values.registry.tls.existingSecret | default (printf "%s-tls" (include "cache-registry.componentName" (dict "root" . "component" "registry"))) }}
{{- end }}

{{- /* HTTPS at the management port: "true", or nothing. */}}
{{- define "cache-registry.registry.managementTls" -}}
{{- $wanted := toString .Values.registry.management.tls -}}
{{- $share := eq .Values.privateImages.mode "share" -}}
{{- if and .Values.registry.enabled (or (eq $wanted "true") (and (eq $wanted "auto") $share)) }}true{{ end -}}
{{- end }}

{{- /* HTTPS at any port: "true", or nothing. All of them have one certificate. */}}
{{- define "cache-registry.registry.servesTls" -}}
{{- if and .Values.registry.enabled (or .Values.registry.tls.enabled (include "cache-registry.registry.managementTls" .)) }}true{{ end -}}
{{- end }}

{{- define "cache-registry.registry.ipFamilies" -}}
{{- with .Values.registry.service.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.registry.service.ipFamilies }}
ipFamilies: {{ toJson . }}
{{- end }}
{{- end }}

{{- /* Every address of a pod. :: stands for those of IPv4 too, but is only used where IPv6 is asked for: a node may lack it. */}}
{{- define "cache-registry.anyAddress" -}}
{{ has "IPv6" (.Values.registry.service.ipFamilies | default list) | ternary "::" "0.0.0.0" | quote }}
{{- end }}

{{- /* Where controllers and proxies reach the registry: this release's or another cluster's. */}}
{{- define "cache-registry.registry.managementUrl" -}}
{{- if .Values.registry.enabled -}}
{{ include "cache-registry.registry.managementTls" . | empty | ternary "http" "https" }}://{{ include "cache-registry.componentName" (dict "root" . "component" "registry") }}:8081
{{- else -}}
{{ .Values.registry.external.managementUrl }}
{{- end -}}
{{- end }}

{{- define "cache-registry.registry.url" -}}
{{- if .Values.registry.enabled -}}
{{ include "cache-registry.registry.scheme" . }}://{{ include "cache-registry.componentName" (dict "root" . "component" "registry") }}.{{ .Release.Namespace }}.svc:5000
{{- else -}}
{{ .Values.registry.externalUrl }}
{{- end -}}
{{- end }}

{{- define "cache-registry.registry.scheme" -}}
{{ ternary "https" "http" .Values.registry.tls.enabled }}
{{- end }}

{{- /* Host names of its own that a certificate is to be for. */}}
{{- define "cache-registry.registry.ownHosts" -}}
{{- $hosts := list -}}
{{- range .Values.registry.externalNames }}{{ $hosts = append $hosts (regexReplaceAll ":[0-9]+$" . "") }}{{ end -}}
{{- range .Values.registry.ingress.enabled | ternary (.Values.registry.ingress.hosts | default list) list }}{{ $hosts = append $hosts . }}{{ end -}}
{{- include "cache-registry.registry.routeHosts" (dict "root" . "hosts" $hosts) -}}
{{- end }}

{{- /* Are there credentials of private images that several replicas have to know? "true", or nothing. */}}
{{- define "cache-registry.registry.lendsToReplicas" -}}
{{- $registry := .Values.registry -}}
{{- $several := or (gt (int $registry.replicas) 1) $registry.hpa.enabled -}}
{{- if and $registry.enabled $several (eq .Values.privateImages.mode "share") }}true{{ end -}}
{{- end }}
