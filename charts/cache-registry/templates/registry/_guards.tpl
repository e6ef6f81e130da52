{{- define "cache-registry.guardStorage" -}}
{{- $registry := .Values.registry -}}
{{- $storage := $registry.storage -}}
{{- $blobs := $storage.blobs -}}
{{- $stores := include "cache-registry.registry.stores" . | fromYaml -}}
{{- $persistence := include "cache-registry.registry.persistence" . | fromYaml -}}
{{- $postgres := eq $storage.metadata.driver "postgres" -}}
{{- if and (has $blobs.driver (list "s3" "gcs")) (not (get $blobs $blobs.driver).bucket) -}}
{{- fail (printf "registry.storage.blobs.driver is %s: name the bucket in registry.storage.blobs.%s.bucket." $blobs.driver $blobs.driver) -}}
{{- end -}}
{{- if and (eq $blobs.driver "azure") (not (and $blobs.azure.account $blobs.azure.container)) -}}
{{- fail "registry.storage.blobs.driver is azure: name the storage account and the container in registry.storage.blobs.azure.account and registry.storage.blobs.azure.container." -}}
{{- end -}}
{{- if and $postgres (not $storage.metadata.postgres.existingSecret) -}}
{{- fail "registry.storage.metadata.driver is postgres: name the Secret with the database's URL in registry.storage.metadata.postgres.existingSecret." -}}
{{- end -}}
{{- if and (eq $blobs.redirect "presigned") (not $stores.objectStore) -}}
{{- fail (printf "registry.storage.blobs.redirect is presigned, which needs an object store, and registry.storage.blobs.driver is %s: set the driver to s3, gcs or azure, or redirect to the URL of a web server." $blobs.driver) -}}
{{- end -}}
{{- if and (eq $blobs.redirect "presigned") (eq $blobs.driver "azure") (not (and $blobs.azure.existingSecret (eq $blobs.azure.credential "accountKey"))) -}}
{{- fail "registry.storage.blobs.redirect is presigned: on Azure the account's key signs, so name its Secret in registry.storage.blobs.azure.existingSecret." -}}
{{- end -}}
{{- if and (eq $blobs.driver "memory") (not $storage.maxSize) -}}
{{- fail "registry.storage.blobs.driver is memory: say in registry.storage.maxSize how much of registry.resources.limits.memory may be filled." -}}
{{- end -}}
{{- if and (eq $blobs.driver "memory") (or $persistence.enabled $postgres) -}}
{{- fail "registry.storage.blobs.driver is memory: the bytes are lost with the process, so set registry.persistence.enabled to false and registry.storage.metadata.driver to sqlite." -}}
{{- end -}}
{{- $limit := dig "limits" "memory" "" ($registry.resources | default dict) | toString -}}
{{- if and (not $persistence.enabled) (eq $registry.emptyDir.medium "Memory") (regexMatch "^[0-9.]+([kMGTPE]i?)?$" $limit) -}}
{{- if ge (include "cache-registry.registry.mostOf" $registry.emptyDir.sizeLimit | float64) (include "cache-registry.registry.mostOf" $limit | float64) -}}
{{- fail (printf "registry.emptyDir.medium is Memory, and what is in there counts as memory of the pod: with registry.emptyDir.sizeLimit %s and registry.resources.limits.memory %s it would be killed again and again. Raise the limit, or lower sizeLimit." $registry.emptyDir.sizeLimit $limit) -}}
{{- end -}}
{{- end -}}
{{- if and $persistence.enabled (eq $persistence.volumeMode "Block") -}}
{{- fail "registry.persistence.volumeMode is Block: the registry needs a file system, so set it to Filesystem." -}}
{{- end -}}
{{- if and $persistence.hostPath $persistence.existingClaim -}}
{{- fail "registry.persistence.hostPath and registry.persistence.existingClaim are two places for the same data: set one of them." -}}
{{- end -}}
{{- if and $persistence.hostPath (not $persistence.enabled) -}}
{{- fail "registry.persistence.hostPath is set: set registry.persistence.enabled to use it." -}}
{{- end -}}
{{- if and $stores.objectStore $postgres $persistence.enabled -}}
{{- fail "With an object store and PostgreSQL nothing needs registry.persistence, and replicas could not share that volume: set registry.persistence.enabled to false; what is on its way is in registry.emptyDir." -}}
{{- end -}}
{{- include "cache-registry.guardReplicas" . -}}
{{- end }}

{{- define "cache-registry.guardReplicas" -}}
{{- $registry := .Values.registry -}}
{{- $storage := $registry.storage -}}
{{- $persistence := include "cache-registry.registry.persistence" . | fromYaml -}}
{{- $shared := (include "cache-registry.registry.stores" . | fromYaml).shared -}}
{{- $what := $registry.hpa.enabled | ternary "registry.hpa.enabled is true" (printf "registry.replicas is %d" (int $registry.replicas)) -}}
{{- if and (or (gt (int $registry.replicas) 1) $registry.hpa.enabled) (not $shared) -}}
{{- if ne $storage.metadata.driver "postgres" -}}
{{- fail (printf "%s, but SQLite has one writer: set registry.replicas to 1, or registry.storage.metadata.driver to postgres and registry.storage.blobs.driver to s3, gcs or azure." $what) -}}
{{- else if $persistence.hostPath -}}
{{- fail (printf "%s, but registry.persistence.hostPath is one node's: use a ReadWriteMany claim, or set registry.storage.blobs.driver to s3, gcs or azure." $what) -}}
{{- else if $persistence.enabled -}}
{{- fail (printf "%s, but the volume has one writer: set registry.persistence.accessModes to [ReadWriteMany] if its class can do that, or registry.storage.blobs.driver to s3, gcs or azure." $what) -}}
{{- else -}}
{{- fail (printf "%s, but each replica would have an emptyDir of its own: set registry.storage.blobs.driver to s3, gcs or azure, or registry.persistence to a ReadWriteMany claim." $what) -}}
{{- end -}}
{{- end -}}
{{- if and $registry.updateStrategy (not $shared) (ne ($registry.updateStrategy.type | default "RollingUpdate") "Recreate") -}}
{{- fail "registry.updateStrategy.type can only be Recreate here: during a rolling update two processes would write the same SQLite database or volume." -}}
{{- end -}}
{{- end }}

{{- define "cache-registry.guardPushes" -}}
{{- $registry := .Values.registry -}}
{{- $htpasswd := $registry.auth.htpasswd -}}
{{- $stores := include "cache-registry.registry.stores" . | fromYaml -}}
{{- if and $htpasswd.enabled (not $htpasswd.existingSecret) (not (and $htpasswd.username $htpasswd.password)) -}}
{{- fail "registry.auth.htpasswd.enabled is true: name a Secret with the key \"htpasswd\" in registry.auth.htpasswd.existingSecret, or set registry.auth.htpasswd.username and registry.auth.htpasswd.password." -}}
{{- end -}}
{{- if and $htpasswd.enabled $htpasswd.existingSecret (or $htpasswd.username $htpasswd.password) -}}
{{- fail "registry.auth.htpasswd.existingSecret holds the users: remove registry.auth.htpasswd.username and registry.auth.htpasswd.password." -}}
{{- end -}}
{{- if and $htpasswd.enabled (not $stores.lasting) (not $registry.ephemeralPushes) -}}
{{- if $stores.objectStore -}}
{{- fail "registry.auth.htpasswd lets users push, but the SQLite database that knows what was pushed is on an emptyDir, and its copies are minutes old: set registry.persistence.enabled or registry.storage.metadata.driver to postgres, or accept the loss with registry.ephemeralPushes." -}}
{{- else -}}
{{- fail "registry.auth.htpasswd lets users push, but without persistence pushed images are lost with the pod: set registry.persistence.enabled, or accept the loss with registry.ephemeralPushes." -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "cache-registry.guardExposure" -}}
{{- $registry := .Values.registry -}}
{{- $upstreamHosts := include "cache-registry.registry.routeHosts" (dict "root" . "hosts" list) | fromYamlArray -}}
{{- range $kind, $hosts := dict "ingress" "hosts" "httpRoute" "hostnames" "istio" "hosts" -}}
{{- $route := get $registry $kind -}}
{{- if and $route.enabled (not (get $route $hosts)) (not $upstreamHosts) -}}
{{- fail (printf "registry.%s.enabled is true: name the registry's host in registry.%s.%s." $kind $kind $hosts) -}}
{{- end -}}
{{- end -}}
{{- if and $registry.httpRoute.enabled (not $registry.httpRoute.parentRefs) -}}
{{- fail "registry.httpRoute.enabled is true: name the Gateway in registry.httpRoute.parentRefs." -}}
{{- end -}}
{{- if and $registry.tls.enabled $registry.istio.enabled -}}
{{- fail "registry.tls.enabled is true, but registry.istio speaks plain HTTP to the registry: let the gateway end TLS and set registry.tls.enabled to false, use registry.httpRoute (Istio takes those too), or write routes of your own in extraObjects." -}}
{{- end -}}
{{- if and $registry.tls.enabled $registry.httpRoute.enabled (not $registry.httpRoute.caCertificateRefs) (not (has $registry.tls.caKey (list "" "ca.crt"))) -}}
{{- fail (printf "registry.tls.caKey is %s, and Gateways read the key ca.crt: name a ConfigMap that has it in registry.httpRoute.caCertificateRefs." $registry.tls.caKey) -}}
{{- end -}}
{{- if and $registry.service.exposeManagement (not (include "cache-registry.registry.managementTls" .)) -}}
{{- fail "registry.service.exposeManagement is true: set registry.management.tls to true, or its token would leave the cluster over plain HTTP." -}}
{{- end -}}
{{- if and $registry.service.exposeManagement (eq $registry.service.type "ClusterIP") -}}
{{- fail "registry.service.exposeManagement is true: set registry.service.type to NodePort or LoadBalancer; inside the cluster it is reached anyway." -}}
{{- end -}}
{{- end }}

{{- define "cache-registry.guardExternalRegistry" -}}
{{- $registry := .Values.registry -}}
{{- if not (regexMatch "^https?://[^/@]+$" $registry.externalUrl) -}}
{{- fail "registry.enabled is false: set registry.externalUrl to the URL of the registry to use, such as https://images.example.com." -}}
{{- end -}}
{{- if not (regexMatch "^https?://[^/@]+$" $registry.external.managementUrl) -}}
{{- fail "registry.enabled is false: set registry.external.managementUrl to the URL of that registry's management API, such as https://images.example.com:8081." -}}
{{- end -}}
{{- if not $registry.external.tokenSecret.name -}}
{{- fail "registry.enabled is false: name the Secret with the token of that registry's management API in registry.external.tokenSecret.name." -}}
{{- end -}}
{{- end }}
