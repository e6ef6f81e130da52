{{- /* The pod template of every component, so that all of them are equally confined and take the same values.

       Argument: (dict "root" $ "component" "webhook" "managementPort" 8082) and, where it differs from the default,
       "gracePeriod" (seconds), "command" (list, instead of the image's), "hostNetwork", "serviceLinks", "serviceAccountToken", "spread" (replicas prefer
       different nodes). What only one component has, it defines itself: cache-registry.<component>.{config, ports, env,
       volumeMounts, volumes}. */}}
{{- define "cache-registry.podTemplate" -}}
{{- $root := .root -}}
{{- $values := index $root.Values .component -}}
{{- $part := printf "cache-registry.%s." .component -}}
metadata:
  labels:
    {{- include "cache-registry.podLabels" . | nindent 4 }}
  annotations:
    checksum/config: {{ include (print $part "config") $root | sha256sum }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "cache-registry.componentName" . }}
  automountServiceAccountToken: {{ .serviceAccountToken | default false }}
  enableServiceLinks: {{ .serviceLinks | default false }}
  {{- if .hostNetwork }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  terminationGracePeriodSeconds: {{ .gracePeriod | default 30 }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with concat $root.Values.imagePullSecrets $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  nodeSelector:
    {{- merge (dict "kubernetes.io/os" "linux") $values.nodeSelector | toYaml | nindent 4 }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- else }}
  {{- if .spread }}
  affinity:
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels:
                {{- include "cache-registry.selectorLabels" . | nindent 16 }}
  {{- end }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: {{ .component }}
      image: {{ include "cache-registry.image" . | quote }}
      imagePullPolicy: {{ include "cache-registry.imagePullPolicy" . }}
      {{- with .command }}
      command: {{ toJson . }}
      {{- end }}
      args: [{{ .component }}, --config, /etc/cache-registry/config.yaml]
      {{- with include "cache-registry.env" . }}
      env:
        {{- . | nindent 8 }}
      {{- end }}
      {{- with include (print $part "ports") $root }}
      ports:
        {{- . | nindent 8 }}
      {{- end }}
      startupProbe:
        httpGet: { path: /livez, port: {{ .managementPort }} }
        periodSeconds: 1
        timeoutSeconds: 3
        failureThreshold: 120
      livenessProbe:
        httpGet: { path: /livez, port: {{ .managementPort }} }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: /readyz, port: {{ .managementPort }} }
        periodSeconds: 3
        timeoutSeconds: 3
        failureThreshold: 3
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        privileged: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        # one file, not a folder: other things are mounted beside it
        - name: config
          mountPath: /etc/cache-registry/config.yaml
          subPath: config.yaml
          readOnly: true
        - name: tmp
          mountPath: /tmp
        {{- with include (print $part "volumeMounts") $root }}
        {{- . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "cache-registry.componentName" . }}
    - name: tmp
      emptyDir: {}
    {{- with include (print $part "volumes") $root }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end }}

{{- /* A component's own variables, then extraEnv. A name in both is taken from extraEnv only: server-side apply refuses
       a list that names one variable twice. */}}
{{- define "cache-registry.env" -}}
{{- $extra := (index .root.Values .component).extraEnv -}}
{{- $overridden := list -}}
{{- range $extra }}{{ $overridden = append $overridden .name }}{{ end -}}
{{- $env := list -}}
{{- range include (printf "cache-registry.%s.env" .component) .root | fromYamlArray -}}
{{- if not (has .name $overridden) }}{{ $env = append $env . }}{{ end -}}
{{- end -}}
{{- with concat $env $extra }}{{ toYaml . }}{{ end -}}
{{- end }}

{{- define "cache-registry.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "cache-registry.componentName" . }}
  namespace: {{ .root.Release.Namespace | quote }}
  labels:
    {{- include "cache-registry.labels" . | nindent 4 }}
  {{- if .keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
data:
  config.yaml: |
    {{- include (printf "cache-registry.%s.config" .component) .root | nindent 4 }}
{{- end }}

{{- define "cache-registry.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "cache-registry.componentName" . }}
  namespace: {{ .root.Release.Namespace | quote }}
  labels:
    {{- include "cache-registry.labels" . | nindent 4 }}
  {{- if .keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
automountServiceAccountToken: false
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
  maxUnavailable: {{ $pdb.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "cache-registry.selectorLabels" . | nindent 6 }}
{{- end -}}
{{- end }}
