{{- /* The list `upstreams` as the configuration has it: files instead of Secrets. Argument: (dict "root" $ "trusted" true);
       without trust nothing that proves who we are is in it, neither credentials nor client certificates. */}}
{{- define "cache-registry.upstreams" -}}
{{- $trusted := .trusted -}}
{{- $upstreams := list -}}
{{- range .root.Values.upstreams -}}
{{- $upstream := omit . "credentials" "tls" -}}
{{- with include "cache-registry.upstreamTls" (dict "tls" .tls "trusted" $trusted) | fromYaml -}}
{{- $_ := set $upstream "tls" . -}}
{{- end -}}
{{- if and $trusted .credentials -}}
{{- $entries := list -}}
{{- range kindIs "slice" .credentials | ternary .credentials (list .credentials) -}}
{{- $entries = append $entries (include "cache-registry.upstreamCredentials" . | fromYaml) -}}
{{- end -}}
{{- $_ := set $upstream "credentials" $entries -}}
{{- end -}}
{{- $upstreams = append $upstreams $upstream -}}
{{- end -}}
{{- with $upstreams }}{{ toYaml . }}{{ end -}}
{{- end }}

{{- define "cache-registry.upstreamTls" -}}
{{- $trusted := .trusted -}}
{{- with .tls -}}
{{- $tls := omit . "existingSecret" "ca" "clientCertificate" -}}
{{- if not $trusted }}{{ $tls = omit $tls "certFile" "keyFile" }}{{ end -}}
{{- with .existingSecret -}}
{{- $folder := include "cache-registry.secretFolder" . -}}
{{- if ne (toString $.tls.ca) "false" }}{{ $_ := set $tls "caFile" (print $folder "/ca.crt") }}{{ end -}}
{{- if and $trusted $.tls.clientCertificate -}}
{{- $_ := set $tls "certFile" (print $folder "/tls.crt") -}}
{{- $_ := set $tls "keyFile" (print $folder "/tls.key") -}}
{{- end -}}
{{- end -}}
{{- toYaml $tls -}}
{{- end -}}
{{- end }}

{{- /* What the Secret's key holds follows from the provider: a key file (gcp), an application's secret (acr), else Docker's
       configuration. Without a key it holds a username and a password. */}}
{{- define "cache-registry.upstreamCredentials" -}}
{{- $entry := omit . "existingSecret" "key" -}}
{{- if .existingSecret -}}
{{- $folder := include "cache-registry.secretFolder" .existingSecret -}}
{{- if .key -}}
{{- $names := dict "gcp" "credentialsFile" "acr" "clientSecretFile" -}}
{{- $_ := set $entry (get $names (.provider | default "") | default "dockerConfigFile") (printf "%s/%s" $folder .key) -}}
{{- else -}}
{{- $_ := set $entry "usernameFile" (print $folder "/username") -}}
{{- $_ := set $entry "passwordFile" (print $folder "/password") -}}
{{- end -}}
{{- end -}}
{{- toYaml $entry -}}
{{- end }}

{{- /* Names of the Secrets that this list needs, as a list. */}}
{{- define "cache-registry.upstreamSecrets" -}}
{{- $names := list -}}
{{- $trusted := .trusted -}}
{{- range .root.Values.upstreams -}}
{{- with .tls }}{{ if and .existingSecret (or (ne (toString .ca) "false") (and $trusted .clientCertificate)) }}{{ $names = append $names .existingSecret }}{{ end }}{{ end -}}
{{- if and $trusted .credentials -}}
{{- range kindIs "slice" .credentials | ternary .credentials (list .credentials) -}}
{{- $names = append $names .existingSecret -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- compact $names | toYaml -}}
{{- end }}

{{- /* Variables for the proxy on the way to upstreams. */}}
{{- define "cache-registry.forwardProxyEnv" -}}
{{- with .Values.forwardProxy.http }}
- { name: HTTP_PROXY, value: {{ . | quote }} }
{{- end }}
{{- with .Values.forwardProxy.https }}
- { name: HTTPS_PROXY, value: {{ . | quote }} }
{{- end }}
{{- with .Values.forwardProxy.noProxy }}
- { name: NO_PROXY, value: {{ join "," . | quote }} }
{{- end }}
{{- end }}
