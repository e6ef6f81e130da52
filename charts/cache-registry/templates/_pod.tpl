{{- /* The pod template of every component, so that all of them are equally confined and take the same values.

       Argument: (dict "root" $ "component" "webhook" "managementPort" 8082) and, where it differs from the default,
       "gracePeriod" (seconds), "command" (list, instead of the image's), "managementTls" (not empty: HTTPS), "hostNetwork",
       "serviceLinks", "spread" (replicas prefer different nodes), "initContainers" (YAML). What only one component has, it
       defines itself:
       cache-registry.<component>.{config, ports, env, volumeMounts, volumes}. */}}
{{- define "cache-registry.podTemplate" -}}
{{- $root := .root -}}
{{- $values := index $root.Values .component -}}
metadata:
  labels:
    {{- include "cache-registry.podLabels" . | nindent 4 }}
  annotations:
    checksum/config: {{ include "cache-registry.configChecksum" . }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "cache-registry.serviceAccountName" . }}
  automountServiceAccountToken: {{ $values.serviceAccount.automount }}
  enableServiceLinks: {{ .serviceLinks | default false }}
  {{- if .hostNetwork }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  terminationGracePeriodSeconds: {{ .gracePeriod | default 30 }}
  {{- include "cache-registry.scheduling" . | nindent 2 }}
  {{- with include "cache-registry.imagePullSecrets" . }}
  imagePullSecrets:
    {{- . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml ($values.podSecurityContext | default dict) | nindent 4 }}
  {{- with .initContainers }}
  initContainers:
    {{- . | nindent 4 }}
  {{- end }}
  containers:
    - {{ include "cache-registry.container" . | nindent 6 | trim }}
    {{- with $values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "cache-registry.componentName" . }}
    - name: tmp
      emptyDir: {}
    {{- with include (printf "cache-registry.%s.volumes" .component) $root | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- /* Those of all components, then the component's own. */}}
{{- define "cache-registry.imagePullSecrets" -}}
{{- $own := (index .root.Values .component).imagePullSecrets -}}
{{- with concat (.root.Values.imagePullSecrets | default list) ($own | default list) }}{{ toYaml . }}{{ end -}}
{{- end }}

{{- define "cache-registry.container" -}}
{{- $values := index .root.Values .component -}}
{{- $part := printf "cache-registry.%s." .component -}}
name: {{ .component }}
image: {{ include "cache-registry.image" . | quote }}
imagePullPolicy: {{ include "cache-registry.imagePullPolicy" . }}
{{- with .command }}
command: {{ toJson . }}
{{- end }}
args: {{ concat (list .component "--config" "/etc/cache-registry/config/config.yaml") ($values.extraArgs | default list) | toJson }}
{{- with include "cache-registry.env" . }}
env:
  {{- . | nindent 2 }}
{{- end }}
{{- with include (print $part "ports") .root }}
ports:
  {{- . | nindent 2 }}
{{- end }}
startupProbe:
  httpGet: { path: /livez, port: {{ .managementPort }}{{ if .managementTls }}, scheme: HTTPS{{ end }} }
  periodSeconds: 1
  timeoutSeconds: 3
  failureThreshold: 120
livenessProbe:
  httpGet: { path: /livez, port: {{ .managementPort }}{{ if .managementTls }}, scheme: HTTPS{{ end }} }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: {{ .managementPort }}{{ if .managementTls }}, scheme: HTTPS{{ end }} }
  periodSeconds: 3
  timeoutSeconds: 3
  failureThreshold: 3
resources:
  {{- toYaml ($values.resources | default dict) | nindent 2 }}
securityContext:
  {{- toYaml ($values.securityContext | default dict) | nindent 2 }}
volumeMounts:
  # a folder of its own, whole: a file that is mounted alone never changes, and some keys are read again when they do
  - name: config
    mountPath: /etc/cache-registry/config
    readOnly: true
  - name: tmp
    mountPath: /tmp
  {{- with include (print $part "volumeMounts") .root | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with $values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* Which nodes, and in which order of importance. */}}
{{- define "cache-registry.scheduling" -}}
{{- $values := index .root.Values .component -}}
nodeSelector:
  {{- merge (dict "kubernetes.io/os" "linux") ($values.nodeSelector | default dict) | toYaml | nindent 2 }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- if $values.affinity }}
affinity:
  {{- toYaml $values.affinity | nindent 2 }}
{{- else if .spread }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "cache-registry.selectorLabels" . | nindent 14 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ include "cache-registry.topologySpreadConstraint" (dict "constraint" . "selector" (include "cache-registry.selectorLabels" $ | fromYaml)) | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* One without a selector is about the component's own pods. */}}
{{- define "cache-registry.topologySpreadConstraint" -}}
{{- $constraint := deepCopy .constraint -}}
{{- if not (hasKey $constraint "labelSelector") -}}
{{- $_ := set $constraint "labelSelector" (dict "matchLabels" .selector) -}}
{{- end -}}
{{- toYaml $constraint -}}
{{- end }}

{{- /* A component's own variables, then extraEnv. A name in both is taken from extraEnv only: server-side apply refuses
       a list that names one variable twice. */}}
{{- define "cache-registry.env" -}}
{{- $extra := (index .root.Values .component).extraEnv | default list -}}
{{- $overridden := list -}}
{{- range $extra }}{{ $overridden = append $overridden .name }}{{ end -}}
{{- $env := list -}}
{{- range include (printf "cache-registry.%s.env" .component) .root | fromYamlArray -}}
{{- if not (has .name $overridden) }}{{ $env = append $env . }}{{ end -}}
{{- end -}}
{{- with concat $env $extra }}{{ toYaml . }}{{ end -}}
{{- end }}
