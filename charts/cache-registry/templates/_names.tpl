{{- /* Names and labels. Where a template takes a component, its argument is (dict "root" $ "component" "webhook"). */}}

{{- /* At most 41 characters, so that the longest suffix, -uninstall-post-delete, still gives the name of a Job: its pods have
       it as a label. A release may be named with dots or begin with a digit; a Service may not. */}}
{{- define "cache-registry.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := .Values.fullnameOverride -}}
{{- if not $full -}}
{{- $full = ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- end -}}
{{- $full = replace "." "-" $full -}}
{{- if regexMatch "^[0-9]" $full -}}
{{- $full = printf "r%s" $full -}}
{{- end -}}
{{- $full | trunc 41 | trimSuffix "-" -}}
{{- end }}

{{- define "cache-registry.componentName" -}}
{{ include "cache-registry.fullname" .root }}-{{ .component }}
{{- end }}

{{- /* The proxy can be in a namespace of its own: its host network is more than the others need. */}}
{{- define "cache-registry.componentNamespace" -}}
{{ eq .component "proxy" | ternary .root.Values.proxy.namespace "" | default .root.Release.Namespace }}
{{- end }}

{{- /* What selectors match; never changes between versions. */}}
{{- define "cache-registry.selectorLabels" -}}
app.kubernetes.io/name: cache-registry
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- /* Labels of an object. Ours win over commonLabels. */}}
{{- define "cache-registry.labels" -}}
{{- $ours := include "cache-registry.selectorLabels" . | fromYaml -}}
{{- $_ := set $ours "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $ours "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $ours "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63) -}}
{{- merge $ours (.root.Values.commonLabels | default dict) | toYaml -}}
{{- end }}

{{- /* Labels of a component's pods: no version, so that a chart update alone restarts nothing. Our own pods opt out of
       caching, whatever webhook sees them. */}}
{{- define "cache-registry.podLabels" -}}
{{- $values := index .root.Values .component -}}
{{- $ours := include "cache-registry.selectorLabels" . | fromYaml -}}
{{- $_ := set $ours "cache-registry.enix.io/image-caching-policy" "ignore" -}}
{{- merge $ours ($values.podLabels | default dict) (.root.Values.commonLabels | default dict) | toYaml -}}
{{- end }}

{{- /* What the controllers publish and the webhook mounts. */}}
{{- define "cache-registry.clusterStateName" -}}
{{ include "cache-registry.fullname" . }}-cluster-state
{{- end }}

{{- define "cache-registry.tokenSecretName" -}}
{{ include "cache-registry.fullname" . }}-management-token
{{- end }}
