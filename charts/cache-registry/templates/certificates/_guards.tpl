{{- define "cache-registry.guardCertificates" -}}
{{- $certificates := .Values.certificates -}}
{{- $source := include "cache-registry.certificateSource" . -}}
{{- $webhook := .Values.controllers.webhook -}}
{{- if and (eq $source "existingSecret") (not $certificates.existingSecret) -}}
{{- fail "certificates.mode is existingSecret: name the Secret in certificates.existingSecret." -}}
{{- end -}}
{{- if and (eq $source "existingSecret") (not $certificates.caBundle) -}}
{{- fail "certificates.existingSecret is set: the API server also needs the CA that signed it, so set certificates.caBundle (PEM text or base64)." -}}
{{- end -}}
{{- if and (ne $source "existingSecret") $certificates.existingSecret -}}
{{- fail (printf "certificates.existingSecret is set, but certificates.mode is %s: set certificates.mode to existingSecret, or remove certificates.existingSecret." $source) -}}
{{- end -}}
{{- if and (ne $source "existingSecret") $certificates.caBundle -}}
{{- fail (printf "certificates.caBundle belongs to certificates.existingSecret: with certificates.mode %s it is filled in for you, so remove it." $source) -}}
{{- end -}}
{{- range include "cache-registry.certificatesOf" (dict "root" . "issuer" "certManager") | fromYamlArray -}}
{{- $issuer := include "cache-registry.issuerRef" (dict "root" $ "component" .component) | fromYaml -}}
{{- if and (not $issuer.name) (eq .component "webhook") -}}
{{- fail "controllers.webhook.createCertificateIssuer is false: name the issuer in controllers.webhook.certificateIssuerRef.name." -}}
{{- else if not $issuer.name -}}
{{- fail "registry.tls.enabled is true: name the issuer of its certificate in registry.tls.issuerRef.name." -}}
{{- end -}}
{{- end -}}
{{- if and (eq $source "selfManaged") (or $webhook.certificateIssuerRef.name (not $webhook.createCertificateIssuer)) -}}
{{- fail "controllers.webhook.certificateIssuerRef and createCertificateIssuer are for cert-manager, whose API cert-manager.io/v1 was not found or not asked for: set certificates.mode to certManager (needed where the chart is rendered without the cluster), or remove them." -}}
{{- end -}}
{{- if and (include "cache-registry.certificatesOf" (dict "root" . "issuer" "selfManaged") | fromYamlArray) (eq (int .Values.controllers.replicas) 0) -}}
{{- fail "controllers.replicas is 0, but the controllers are to make the certificates: set it to 1 or more, or set certificates.mode to certManager or existingSecret." -}}
{{- end -}}
{{- include "cache-registry.guardLifetimes" $certificates -}}
{{- include "cache-registry.guardManagementTls" . -}}
{{- end }}

{{- define "cache-registry.guardLifetimes" -}}
{{- $duration := include "cache-registry.seconds" .duration | int64 -}}
{{- $renewBefore := include "cache-registry.seconds" .renewBefore | int64 -}}
{{- if or (ge $renewBefore $duration) (le $renewBefore 0) -}}
{{- fail (printf "certificates.renewBefore is %s: it must be more than 0 and less than certificates.duration, %s." .renewBefore .duration) -}}
{{- end -}}
{{- if lt (include "cache-registry.seconds" .caDuration | int64) (mul 2 $duration) -}}
{{- fail (printf "certificates.caDuration is %s: it must be at least twice certificates.duration, %s." .caDuration .duration) -}}
{{- end -}}
{{- end }}

{{- define "cache-registry.guardManagementTls" -}}
{{- $share := eq .Values.privateImages.mode "share" -}}
{{- if and .Values.registry.enabled $share (not (include "cache-registry.registry.managementTls" .)) -}}
{{- fail "privateImages.mode is share, and pull secrets never go over plain HTTP: set registry.management.tls to auto or true." -}}
{{- end -}}
{{- end }}
