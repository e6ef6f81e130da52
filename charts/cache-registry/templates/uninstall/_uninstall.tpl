{{- /* With uninstall.evictPods the release leaves nothing behind: a Job before the deletion makes the pods independent of
       the cache, a Job behind it removes what Helm does not know. Their own objects carry another name label, or they
       would remove themselves. */}}
{{- define "cache-registry.uninstall.name" -}}
{{ include "cache-registry.componentName" (dict "root" .root "component" "uninstall") }}-{{ .hook }}
{{- end }}

{{- define "cache-registry.uninstall.metadata" -}}
name: {{ include "cache-registry.uninstall.name" . }}
{{- with .namespace }}
namespace: {{ . | quote }}
{{- end }}
labels:
  {{- merge (dict "app.kubernetes.io/name" "cache-registry-uninstall" "app.kubernetes.io/instance" .root.Release.Name "app.kubernetes.io/component" "uninstall") (.root.Values.commonLabels | default dict) | toYaml | nindent 2 }}
annotations:
  helm.sh/hook: {{ .hook }}
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
  helm.sh/hook-output-log-policy: hook-succeeded,hook-failed
{{- end }}

{{- /* Argument: root, hook, args (of restore). */}}
{{- define "cache-registry.uninstall.job" -}}
{{- $controllers := dict "root" .root "component" "controllers" -}}
{{- $values := .root.Values.controllers -}}
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "cache-registry.uninstall.metadata" (merge (dict "namespace" .root.Release.Namespace "weight" 5) .) | nindent 2 }}
spec:
  backoffLimit: 2
  # its time is over, and it has said what is left: another time would only be as long
  podFailurePolicy:
    rules:
      - action: FailJob
        onExitCodes: { containerName: restore, operator: In, values: [3] }
  template:
    metadata:
      labels:
        app.kubernetes.io/name: cache-registry-uninstall
        app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
        cache-registry.enix.io/image-caching-policy: ignore
    spec:
      serviceAccountName: {{ include "cache-registry.uninstall.name" . }}
      automountServiceAccountToken: true
      enableServiceLinks: false
      restartPolicy: Never
      {{- include "cache-registry.scheduling" $controllers | nindent 6 }}
      {{- with include "cache-registry.imagePullSecrets" $controllers }}
      imagePullSecrets:
        {{- . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- toYaml ($values.podSecurityContext | default dict) | nindent 8 }}
      containers:
        - name: restore
          image: {{ include "cache-registry.image" $controllers | quote }}
          imagePullPolicy: {{ include "cache-registry.imagePullPolicy" $controllers }}
          args:
            {{- toYaml (concat (list "restore" "--release" .root.Release.Name "--namespace" .root.Release.Namespace "--endpoint" .root.Values.endpoint) (include "cache-registry.uninstall.registries" .root | fromJsonArray) .args) | nindent 12 }}
          resources:
            {{- toYaml ($values.resources | default dict) | nindent 12 }}
          securityContext:
            {{- toYaml ($values.securityContext | default dict) | nindent 12 }}
{{- end }}

{{- /* Where the proxy is, and the upstreams: only names without a dot are ambiguous; all are told. */}}
{{- define "cache-registry.uninstall.registries" -}}
{{- $args := list -}}
{{- with .Values.proxy.namespace }}{{ $args = list "--proxy-namespace" . }}{{ end -}}
{{- range .Values.upstreams }}{{ $args = concat $args (list "--registry" .registry) }}{{ end -}}
{{- toJson $args -}}
{{- end }}
