{{- /* The Deployment of a component. Argument: as for cache-registry.podTemplate, and "strategy" where it is not
       Kubernetes' own. */}}
{{- define "cache-registry.deployment" -}}
{{- $values := index .root.Values .component -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "cache-registry.componentName" . }}
  namespace: {{ .root.Release.Namespace | quote }}
  labels:
    {{- include "cache-registry.labels" . | nindent 4 }}
spec:
  {{- if not $values.hpa.enabled }}
  replicas: {{ $values.replicas }}
  {{- end }}
  strategy:
    {{- include "cache-registry.deploymentStrategy" . | nindent 4 }}
  selector:
    matchLabels:
      {{- include "cache-registry.selectorLabels" . | nindent 6 }}
  template:
    {{- include "cache-registry.podTemplate" . | nindent 4 }}
{{- end }}

{{- /* The parameters of a rolling update are always spelled out, those of the user over Kubernetes' own: with server-side
       apply only what we own goes when the type becomes Recreate, and the API server refuses that with what it filled in. */}}
{{- define "cache-registry.deploymentStrategy" -}}
{{- $strategy := deepCopy ((index .root.Values .component).updateStrategy | default .strategy | default dict) -}}
{{- if ne ($strategy.type | default "RollingUpdate") "Recreate" -}}
{{- $rolling := dict "maxSurge" "25%" "maxUnavailable" "25%" -}}
{{- range $key, $value := $strategy.rollingUpdate }}{{ $_ := set $rolling $key $value }}{{ end -}}
{{- $_ := set $strategy "type" "RollingUpdate" -}}
{{- $_ := set $strategy "rollingUpdate" $rolling -}}
{{- end -}}
{{- toYaml $strategy -}}
{{- end }}

{{- define "cache-registry.serviceAccountName" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- if $account.create -}}
{{ $account.name | default (include "cache-registry.componentName" .) }}
{{- else -}}
{{ $account.name | default "default" }}
{{- end -}}
{{- end }}

{{- /* Pods say for themselves whether they get its token. */}}
{{- define "cache-registry.serviceAccount" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- if $account.create -}}
{{- $annotations := deepCopy ($account.annotations | default dict) -}}
{{- if .keep }}{{ $_ := set $annotations "helm.sh/resource-policy" "keep" }}{{ end -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "cache-registry.serviceAccountName" . }}
  namespace: {{ include "cache-registry.componentNamespace" . | quote }}
  labels:
    {{- include "cache-registry.labels" . | nindent 4 }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}
{{- end }}

{{- define "cache-registry.podDisruptionBudget" -}}
{{- $pdb := (index .root.Values .component).pdb -}}
{{- if $pdb.enabled -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "cache-registry.componentName" . }}
  namespace: {{ .root.Release.Namespace | quote }}
  labels:
    {{- include "cache-registry.labels" . | nindent 4 }}
spec:
  {{- if ne (toString $pdb.minAvailable) "" }}
  minAvailable: {{ $pdb.minAvailable }}
  {{- else }}
  maxUnavailable: {{ $pdb.maxUnavailable }}
  {{- end }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "cache-registry.selectorLabels" . | nindent 6 }}
{{- end -}}
{{- end }}

{{- define "cache-registry.horizontalPodAutoscaler" -}}
{{- $hpa := (index .root.Values .component).hpa -}}
{{- if $hpa.enabled -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "cache-registry.componentName" . }}
  namespace: {{ .root.Release.Namespace | quote }}
  labels:
    {{- include "cache-registry.labels" . | nindent 4 }}
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: {{ include "cache-registry.componentName" . }} }
  minReplicas: {{ $hpa.minReplicas }}
  maxReplicas: {{ $hpa.maxReplicas }}
  metrics:
    {{- if $hpa.targetCPUUtilization }}
    - type: Resource
      resource: { name: cpu, target: { type: Utilization, averageUtilization: {{ $hpa.targetCPUUtilization }} } }
    {{- end }}
    {{- with $hpa.metrics }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $hpa.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end }}
