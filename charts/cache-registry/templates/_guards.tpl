{{- /* Wrong combinations of values, refused with a sentence that says what to change. Rendered by guards.yaml, so before
       anything is applied. */}}
{{- define "cache-registry.guards" -}}
{{- include "cache-registry.guardCertificates" . -}}
{{- include "cache-registry.guardRegistry" . -}}
{{- end }}

{{- define "cache-registry.guardCertificates" -}}
{{- $source := include "cache-registry.certificateSource" . -}}
{{- $certificates := .Values.certificates -}}
{{- $issuer := .Values.controllers.webhook -}}
{{- if and (eq $source "existingSecret") (not $certificates.existingSecret) -}}
{{- fail "certificates.mode is existingSecret: name the Secret in certificates.existingSecret." -}}
{{- end -}}
{{- if and (eq $source "existingSecret") (not $certificates.caBundle) -}}
{{- fail "certificates.existingSecret is set: the API server also needs the CA that signed it, so set certificates.caBundle (PEM text or base64)." -}}
{{- end -}}
{{- if and (eq $source "certManager") (not $issuer.createCertificateIssuer) (not $issuer.certificateIssuerRef.name) -}}
{{- fail "controllers.webhook.createCertificateIssuer is false: name the issuer in controllers.webhook.certificateIssuerRef.name." -}}
{{- end -}}
{{- end }}

{{- define "cache-registry.guardRegistry" -}}
{{- $registry := .Values.registry -}}
{{- $htpasswd := $registry.auth.htpasswd -}}
{{- $persistence := include "cache-registry.registry.persistence" . | fromYaml -}}
{{- if gt (int $registry.replicas) 1 -}}
{{- fail "registry.replicas can be 0 or 1: SQLite metadata and a volume of its own have one writer." -}}
{{- end -}}
{{- if and $htpasswd.enabled (not $htpasswd.existingSecret) -}}
{{- fail "registry.auth.htpasswd.enabled is true: name a Secret with the key \"htpasswd\" in registry.auth.htpasswd.existingSecret." -}}
{{- end -}}
{{- if and $htpasswd.enabled (not $persistence.enabled) (not $registry.ephemeralPushes) -}}
{{- fail "registry.auth.htpasswd lets users push, but without persistence pushed images are lost with the pod: set registry.persistence.enabled, or accept the loss with registry.ephemeralPushes." -}}
{{- end -}}
{{- end }}
