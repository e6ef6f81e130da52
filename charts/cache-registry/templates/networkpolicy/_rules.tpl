{{- /* Component → what may reach it and, where that is known, what it may reach. A rule without "from" is for every source:
       the proxies (on the host network), the kubelet and the API server have addresses that no selector knows. */}}
{{- define "cache-registry.networkPolicy.rules" -}}
{{- $policy := .Values.networkPolicy -}}
{{- if .Values.registry.enabled }}
registry:
  ingress:
    # nodes, pods and whoever exposes it
    - ports: [{ protocol: TCP, port: 5000 }]
      {{- with $policy.registryFrom }}
      from:
        {{- toYaml . | nindent 8 }}
        {{- if $.Values.test.enabled }}
        - podSelector:
            matchLabels:
              {{- include "cache-registry.selectorLabels" (dict "root" $ "component" "test") | nindent 14 }}
        {{- end }}
        {{- if and $.Values.proxy.enabled (not $.Values.proxy.hostNetwork) }}
        {{- $proxy := dict "root" $ "component" "proxy" }}
        - namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: {{ include "cache-registry.componentNamespace" $proxy | quote }} } }
          podSelector:
            matchLabels:
              {{- include "cache-registry.selectorLabels" $proxy | nindent 14 }}
        {{- end }}
      {{- end }}
    {{- if (include "cache-registry.registry.stores" . | fromYaml).shared }}
    # one replica hands a request over to another
    - ports: [{ protocol: TCP, port: 5001 }]
      from:
        - podSelector:
            matchLabels:
              {{- include "cache-registry.selectorLabels" (dict "root" . "component" "registry") | nindent 14 }}
    {{- end }}
    # the management API
    {{- if .Values.registry.service.exposeManagement }}
    - ports: [{ protocol: TCP, port: 8081 }]
    {{- else }}
    - ports: [{ protocol: TCP, port: 8081 }]
      from:
        - podSelector:
            matchLabels:
              {{- include "cache-registry.selectorLabels" (dict "root" . "component" "controllers") | nindent 14 }}
        {{- with $policy.metricsFrom }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- end }}
{{- end }}
webhook:
  ingress:
    # the API server
    - ports: [{ protocol: TCP, port: 8443 }]
    {{- include "cache-registry.networkPolicy.metrics" (dict "port" 8082 "from" $policy.metricsFrom) | nindent 4 }}
  # it asks nobody
  egress: []
controllers:
  {{- with include "cache-registry.networkPolicy.metrics" (dict "port" 8083 "from" $policy.metricsFrom) }}
  ingress:
    {{- . | nindent 4 }}
  {{- else }}
  ingress: []
  {{- end }}
{{- if not (dig "hostNetwork" true .Values.proxy) }}
proxy:
  ingress:
    # pulls come through the host port, so from the node
    - ports: [{ protocol: TCP, port: {{ regexFind "[0-9]+$" .Values.endpoint }} }]
    {{- include "cache-registry.networkPolicy.metrics" (dict "port" .Values.proxy.managementPort "from" $policy.metricsFrom) | nindent 4 }}
{{- end }}
{{- end }}

{{- define "cache-registry.networkPolicy.metrics" -}}
{{- with .from }}
- ports: [{ protocol: TCP, port: {{ $.port }} }]
  from:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}
