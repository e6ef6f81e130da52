{{- /* Wrong combinations of values, refused with a sentence that says what to change. Rendered by guards.yaml, so before
       anything is applied. */}}
{{- define "cache-registry.guards" -}}
{{- include "cache-registry.guardCertificates" . -}}
{{- include "cache-registry.guardSecrets" . -}}
{{- include "cache-registry.guardScaling" . -}}
{{- include "cache-registry.guardPrivateImages" . -}}
{{- include "cache-registry.guardPorts" . -}}
{{- if .Values.registry.enabled -}}
{{- include "cache-registry.guardStorage" . -}}
{{- include "cache-registry.guardPushes" . -}}
{{- include "cache-registry.guardExposure" . -}}
{{- else -}}
{{- include "cache-registry.guardExternalRegistry" . -}}
{{- end -}}
{{- end }}

{{- /* What is in values is in the release's Secret, in the shell's history and often in a repository. */}}
{{- define "cache-registry.guardSecrets" -}}
{{- range $index, $upstream := .Values.upstreams -}}
{{- range kindIs "slice" .credentials | ternary .credentials (list .credentials) -}}
{{- if . -}}
{{- if hasKey . "password" -}}
{{- fail (printf "upstreams[%d].credentials.password: values are no place for a password: put it into a Secret with the keys username and password, and name that in upstreams[%d].credentials.existingSecret." $index $index) -}}
{{- end -}}
{{- if not (or .existingSecret .usernameFile .username .passwordFile .dockerConfigFile .helper .provider) -}}
{{- fail (printf "upstreams[%d].credentials says nothing of who we are: name a Secret in existingSecret, or a provider." $index) -}}
{{- end -}}
{{- if and .key (not .existingSecret) -}}
{{- fail (printf "upstreams[%d].credentials.key is a key of a Secret: name that in upstreams[%d].credentials.existingSecret." $index $index) -}}
{{- end -}}
{{- if and .provider .existingSecret (not .key) -}}
{{- fail (printf "upstreams[%d].credentials.provider takes one key of a Secret: name it in upstreams[%d].credentials.key." $index $index) -}}
{{- end -}}
{{- if and (eq (.provider | default "") "ecr") .existingSecret -}}
{{- fail (printf "upstreams[%d].credentials.existingSecret: the provider ecr takes no file: use registry.serviceAccount.annotations, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in registry.extraEnv." $index) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .tls -}}
{{- if and .clientCertificate (not .existingSecret) -}}
{{- fail (printf "upstreams[%d].tls.clientCertificate is true: name the Secret with tls.crt and tls.key in upstreams[%d].tls.existingSecret." $index $index) -}}
{{- end -}}
{{- end -}}
{{- if regexMatch "://[^/@]*:[^/@]+@" (.proxy | default "") -}}
{{- fail (printf "upstreams[%d].proxy holds a password, and values are no place for one: set HTTP_PROXY and HTTPS_PROXY from a Secret in registry.extraEnv." $index) -}}
{{- end -}}
{{- end -}}
{{- range $key, $url := omit .Values.forwardProxy "noProxy" -}}
{{- if regexMatch "://[^/@]*:[^/@]+@" $url -}}
{{- fail (printf "forwardProxy.%s holds a password, and values are no place for one: set %s_PROXY from a Secret in registry.extraEnv and proxy.extraEnv." $key (upper $key)) -}}
{{- end -}}
{{- end -}}
{{- range list "registry" "webhook" "controllers" "proxy" -}}
{{- if regexMatch "(?m)(^[ -]*password:)|(://[^/@\\s]*:[^/@\\s]+@)" (index $.Values . "config" | toYaml) -}}
{{- fail (printf "%s.config holds a password, and values are no place for one: mount a Secret with %s.extraVolumes and name the file instead (passwordFile, urlFile)." . .) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "cache-registry.guardPrivateImages" -}}
{{- if eq .Values.privateImages.mode "share" -}}
{{- if not .Values.privateImages.namespaces -}}
{{- fail "privateImages.mode is share: name the namespaces whose pull secrets may be read in privateImages.namespaces." -}}
{{- end -}}
{{- if and (not .Values.registry.enabled) (not (hasPrefix "https://" .Values.registry.external.managementUrl)) -}}
{{- fail "privateImages.mode is share, and pull secrets never go over plain HTTP: registry.external.managementUrl must begin with https://." -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "cache-registry.guardScaling" -}}
{{- if .Values.controllers.hpa.enabled -}}
{{- fail "controllers.hpa.enabled: one of the controllers works and the others stand by, so more of them do no more: set controllers.replicas." -}}
{{- end -}}
{{- range list "registry" "webhook" -}}
{{- $hpa := (index $.Values .).hpa -}}
{{- if and $hpa.enabled (gt (int $hpa.minReplicas) (int $hpa.maxReplicas)) -}}
{{- fail (printf "%s.hpa.minReplicas is above %s.hpa.maxReplicas." . .) -}}
{{- end -}}
{{- if and $hpa.enabled (not $hpa.metrics) (eq (int $hpa.targetCPUUtilization) 0) -}}
{{- fail (printf "%s.hpa needs something to go by: set %s.hpa.targetCPUUtilization or %s.hpa.metrics." . . .) -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.mode "rewrite") (not .Values.proxy.enabled) (regexMatch "^(localhost|127\\.)" .Values.endpoint) -}}
{{- fail (printf "proxy.enabled is false, but with mode rewrite pods would pull from %s, where nothing listens: set mode to mirror, or endpoint to an address at which every node reaches the registry." .Values.endpoint) -}}
{{- end -}}
{{- end }}

{{- /* One process, two listeners. */}}
{{- define "cache-registry.guardPorts" -}}
{{- if and .Values.proxy.enabled (eq (include "cache-registry.proxy.port" . | trim) (toString .Values.proxy.managementPort)) -}}
{{- fail (printf "proxy.managementPort is the port of endpoint %s, where the proxy serves pulls: choose another one." .Values.endpoint) -}}
{{- end -}}
{{- end }}
