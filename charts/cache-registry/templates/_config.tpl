{{- /* A component's configuration file: what its template makes of the values, then the value `config` over it. */}}
{{- define "cache-registry.config" -}}
{{- $config := include (printf "cache-registry.%s.config" .component) .root | fromYaml -}}
{{- with $config.Error }}{{ fail (printf "The configuration of %s is no YAML: %s" $.component .) }}{{ end -}}
{{- $_ := include "cache-registry.overlay" (dict "base" $config "over" (index .root.Values .component).config) -}}
{{- toYaml $config -}}
{{- end }}

{{- /* Puts the mapping `over` over the mapping `base`, in place: mappings key by key, all else as a whole, null takes a key
       away. Not merge: that drops false, 0 and empty lists. */}}
{{- define "cache-registry.overlay" -}}
{{- $base := .base -}}
{{- range $key, $value := .over -}}
{{- $present := get $base $key -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $base $key -}}
{{- else if and (kindIs "map" $value) (kindIs "map" $present) -}}
{{- $_ := include "cache-registry.overlay" (dict "base" $present "over" $value) -}}
{{- else -}}
{{- $_ := set $base $key $value -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* Changes with everything for which the process must start anew. The other keys it reads again by itself: HOT_KEYS of
       the component's config.ts. */}}
{{- define "cache-registry.configChecksum" -}}
{{- $config := include "cache-registry.config" . | fromYaml -}}
{{- $hot := dict "registry" (list "upstreams" "upstreamPolicy" "externalNames" "airGapped") "proxy" (list "upstreams") -}}
{{- range get $hot .component | default list }}{{ $_ := unset $config . }}{{ end -}}
{{- toYaml $config | sha256sum -}}
{{- end }}

{{- define "cache-registry.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "cache-registry.componentName" . }}
  namespace: {{ include "cache-registry.componentNamespace" . | quote }}
  labels:
    {{- include "cache-registry.labels" . | nindent 4 }}
  {{- if .keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
data:
  config.yaml: |
    {{- include "cache-registry.config" . | nindent 4 }}
{{- end }}
