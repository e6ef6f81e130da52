{{- /* Where the webhook's certificate comes from: certManager, selfManaged or existingSecret. The chart alone decides: the
       controllers are told, and never look. Where a cluster cannot be seen (helm template, GitOps), auto finds no
       cert-manager. */}}
{{- define "cache-registry.certificateSource" -}}
{{- $mode := .Values.certificates.mode -}}
{{- if has $mode (list "certManager" "selfManaged" "existingSecret") -}}
{{ $mode }}
{{- else if ne $mode "auto" -}}
{{- fail (printf "certificates.mode %q is not offered: it can be auto, certManager, selfManaged or existingSecret." $mode) -}}
{{- else if .Values.certificates.existingSecret -}}
existingSecret
{{- else if .Capabilities.APIVersions.Has "cert-manager.io/v1" -}}
certManager
{{- else -}}
selfManaged
{{- end -}}
{{- end }}

{{- /* Who issues what is not brought by the user: certManager or selfManaged. */}}
{{- define "cache-registry.certificateIssuer" -}}
{{- $source := include "cache-registry.certificateSource" . -}}
{{- if ne $source "existingSecret" -}}
{{ $source }}
{{- else -}}
{{ ternary "certManager" "selfManaged" (.Capabilities.APIVersions.Has "cert-manager.io/v1") }}
{{- end -}}
{{- end }}

{{- /* The certificates that are to be issued, as a list: name, component, secretName, dnsNames, webhooks (whose caBundle it
       takes) and issuer. One that the values name is cert-manager's. */}}
{{- define "cache-registry.certificates" -}}
{{- $issuer := include "cache-registry.certificateIssuer" . -}}
{{- $certificates := list -}}
{{- if ne (include "cache-registry.certificateSource" .) "existingSecret" -}}
{{- $name := include "cache-registry.componentName" (dict "root" . "component" "webhook") -}}
{{- $names := include "cache-registry.serviceNames" (dict "root" . "component" "webhook") | fromYamlArray -}}
{{- $certificates = append $certificates (dict "name" $name "component" "webhook" "issuer" $issuer "dnsNames" $names "webhooks" (list $name)
  "secretName" (include "cache-registry.webhookCertificateSecretName" .)) -}}
{{- end -}}
{{- if and (include "cache-registry.registry.servesTls" .) (not .Values.registry.tls.existingSecret) -}}
{{- $name := include "cache-registry.componentName" (dict "root" . "component" "registry") -}}
{{- $names := include "cache-registry.serviceNames" (dict "root" . "component" "registry") | fromYamlArray -}}
{{- $names = include "cache-registry.registry.ownHosts" . | fromYamlArray | concat $names | uniq -}}
{{- $own := .Values.registry.tls.issuerRef.name | empty | ternary $issuer "certManager" -}}
{{- $certificates = append $certificates (dict "name" $name "component" "registry" "issuer" $own "dnsNames" $names "webhooks" list
  "secretName" (include "cache-registry.registry.tlsSecretName" .)) -}}
{{- end -}}
{{- toYaml $certificates -}}
{{- end }}

{{- /* Those of them that one of the two issues. Argument: (dict "root" $ "issuer" "selfManaged"). */}}
{{- define "cache-registry.certificatesOf" -}}
{{- $mine := list -}}
{{- range include "cache-registry.certificates" .root | fromYamlArray -}}
{{- if eq .issuer $.issuer }}{{ $mine = append $mine . }}{{ end -}}
{{- end -}}
{{- toYaml $mine -}}
{{- end }}

{{- /* The DNS names of a component's Service. */}}
{{- define "cache-registry.serviceNames" -}}
{{- $name := include "cache-registry.componentName" . -}}
{{- $namespace := .root.Release.Namespace -}}
- {{ $name }}.{{ $namespace }}.svc
- {{ $name }}.{{ $namespace }}.svc.{{ .root.Values.clusterDomain }}
- {{ $name }}.{{ $namespace }}
- {{ $name }}
{{- end }}

{{- define "cache-registry.webhookCertificateSecretName" -}}
{{- if eq (include "cache-registry.certificateSource" .) "existingSecret" -}}
{{ .Values.certificates.existingSecret }}
{{- else -}}
{{ include "cache-registry.componentName" (dict "root" . "component" "webhook") }}-tls
{{- end -}}
{{- end }}

{{- define "cache-registry.caSecretName" -}}
{{ include "cache-registry.fullname" . }}-ca
{{- end }}

{{- /* The CA for the API server, base64, from PEM text or base64. */}}
{{- define "cache-registry.caBundle" -}}
{{- if contains "-----BEGIN" .Values.certificates.caBundle -}}
{{ .Values.certificates.caBundle | b64enc }}
{{- else -}}
{{ regexReplaceAll "\\s" .Values.certificates.caBundle "" }}
{{- end -}}
{{- end }}

{{- /* Seconds of a duration such as 90d or 1h30m. */}}
{{- define "cache-registry.seconds" -}}
{{- $units := dict "ms" 0.001 "s" 1 "m" 60 "h" 3600 "d" 86400 -}}
{{- $seconds := 0 -}}
{{- range regexFindAll "[0-9.]+(ms|s|m|h|d)" . -1 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $seconds = addf $seconds (mulf (trimSuffix $unit . | float64) (get $units $unit)) -}}
{{- end -}}
{{- int64 $seconds -}}
{{- end }}

{{- /* Go's notation, which cert-manager takes, has no days. */}}
{{- define "cache-registry.goDuration" -}}
{{- $seconds := include "cache-registry.seconds" . | int64 -}}
{{- ternary (printf "%dh" (div $seconds 3600)) (printf "%ds" $seconds) (eq (mod $seconds 3600) 0) -}}
{{- end }}

{{- /* What the controllers are to do about certificates. */}}
{{- define "cache-registry.controllers.certificates" -}}
{{- $own := include "cache-registry.certificatesOf" (dict "root" . "issuer" "selfManaged") | fromYamlArray -}}
{{- if not $own -}}
mode: {{ include "cache-registry.certificateSource" . }}
{{- else -}}
mode: selfManaged
duration: {{ .Values.certificates.duration | quote }}
renewBefore: {{ .Values.certificates.renewBefore | quote }}
caDuration: {{ .Values.certificates.caDuration | quote }}
caSecret: {{ include "cache-registry.caSecretName" . }}
serving:
  {{- range $own }}
  - secret: {{ .secretName }}
    dnsNames: {{ toJson .dnsNames }}
    webhooks: {{ toJson .webhooks }}
  {{- end }}
{{- end -}}
{{- end }}
