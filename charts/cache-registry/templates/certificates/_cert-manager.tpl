{{- /* The issuer of a component's certificate, where cert-manager makes it. */}}
{{- define "cache-registry.issuerRef" -}}
{{- $webhook := .root.Values.controllers.webhook -}}
{{- $registry := .root.Values.registry.tls.issuerRef -}}
{{- if and (eq .component "registry") $registry.name -}}
{{- toYaml $registry -}}
{{- else if $webhook.createCertificateIssuer -}}
{{- toYaml (dict "name" (include "cache-registry.componentName" (dict "root" .root "component" "webhook")) "kind" "Issuer" "group" "cert-manager.io") -}}
{{- else -}}
{{- toYaml $webhook.certificateIssuerRef -}}
{{- end -}}
{{- end }}

{{- /* Is there a certificate for the Issuer of our own? */}}
{{- define "cache-registry.createsIssuer" -}}
{{- range include "cache-registry.certificatesOf" (dict "root" . "issuer" "certManager") | fromYamlArray -}}
{{- $own := and (eq .component "registry") $.Values.registry.tls.issuerRef.name -}}
{{- if and $.Values.controllers.webhook.createCertificateIssuer (not $own) }}true{{ end -}}
{{- end -}}
{{- end }}
