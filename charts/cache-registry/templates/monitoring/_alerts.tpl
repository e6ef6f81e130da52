{{- /* The alerts; docs/alerts.md has a section for each, and a test compares them. Critical: pods may not start, or soon. */}}
{{- define "cache-registry.monitoring.alerts" -}}
{{- $registry := include "cache-registry.monitoring.of" (dict "root" . "component" "registry") -}}
{{- $webhook := include "cache-registry.monitoring.of" (dict "root" . "component" "webhook") -}}
{{- $controllers := include "cache-registry.monitoring.of" (dict "root" . "component" "controllers") -}}
{{- $proxy := include "cache-registry.monitoring.of" (dict "root" . "component" "proxy") -}}
{{- $proxies := include "cache-registry.componentNamespace" (dict "root" . "component" "proxy") -}}
{{- $any := printf `namespace=~"%s",pod=~"%s-.+"` (list .Release.Namespace $proxies | uniq | join "|") (include "cache-registry.fullname" .) -}}
- alert: CacheRegistryDown
  expr: absent(up{ {{- $registry -}} } == 1)
  for: 5m
  labels: { severity: critical }
  annotations:
    summary: No replica of the registry answers.
    description: Nodes pull from the upstreams and images that only the cache holds cannot be pulled.
- alert: CacheRegistryWebhookDown
  expr: absent(up{ {{- $webhook -}} } == 1)
  for: 15m
  labels: { severity: warning }
  annotations:
    summary: No replica of the webhook answers.
    description: Pods start with their images as they are, and pull them from the upstreams.
- alert: CacheRegistryControllersDown
  expr: absent(up{ {{- $controllers -}} } == 1)
  for: 15m
  labels: { severity: warning }
  annotations:
    summary: No replica of the controllers answers.
    description: Nothing is warmed up or expired, and after some days pins and certificates run out.
- alert: CacheRegistryProxiesDown
  expr: |-
    (count(up{ {{- $proxy -}} } == 0) > 1)
      and (count(up{ {{- $proxy -}} } == 0) / count(up{ {{- $proxy -}} }) > 0.1)
  for: 10m
  labels: { severity: critical }
  annotations:
    summary: The proxies of {{ `{{ $value }}` }} nodes do not answer.
    description: Rewritten pods cannot pull there. While this lasts no further pods are rewritten.
- alert: CacheRegistryBypassed
  expr: sum(cache_registry_proxy_circuit_open{ {{- $proxy -}} }) > 0
  for: 15m
  labels: { severity: warning }
  annotations:
    summary: The proxies of {{ `{{ $value }}` }} nodes do not reach the registry.
    description: They pull from the upstreams.
- alert: CacheRegistryFailingOver
  expr: |-
    sum by (reason) (rate(cache_registry_proxy_failovers_total{reason!~"open|not-found", {{- $proxy -}} }[15m]))
      > 0.05
  for: 15m
  labels: { severity: warning }
  annotations:
    summary: Proxies go round the cache ({{ `{{ $labels.reason }}` }}).
    description: The registry answers some pulls with errors, so that nodes ask the upstreams.
- alert: CacheRegistryUpstreamFailing
  expr: |-
    sum by (upstream) (rate(cache_registry_upstream_requests_total{result=~"unreachable|timeout|server|unauthorized", {{- $registry -}} }[15m]))
      / sum by (upstream) (rate(cache_registry_upstream_requests_total{ {{- $registry -}} }[15m])) > 0.5
  for: 15m
  labels: { severity: warning }
  annotations:
    summary: Upstream {{ `{{ $labels.upstream }}` }} does not answer, or refuses the credentials.
    description: What the cache holds is served; images that it does not hold cannot be pulled through it.
- alert: CacheRegistryUpstreamLimited
  expr: sum by (upstream) (increase(cache_registry_upstream_requests_total{result="rate-limited", {{- $registry -}} }[30m])) > 0
  for: 30m
  labels: { severity: warning }
  annotations:
    summary: Upstream {{ `{{ $labels.upstream }}` }} limits us (429).
    description: What the cache holds is served; the rest waits or fails. Credentials or another endpoint raise the limit.
- alert: CacheRegistryServingStale
  expr: sum by (upstream, reason) (increase(cache_registry_stale_serves_total{ {{- $registry -}} }[30m])) > 0
  for: 1h
  labels: { severity: warning }
  annotations:
    summary: Tags of {{ `{{ $labels.upstream }}` }} are served without having been confirmed ({{ `{{ $labels.reason }}` }}).
    description: Pods start with the digest that the cache holds, which may no longer be the upstream's.
- alert: CacheRegistryDiskFull
  expr: max(cache_registry_disk_full{ {{- $registry -}} }) == 1
  for: 5m
  labels: { severity: critical }
  annotations:
    summary: The volume of the registry is full.
    description: Pulls are passed on from the upstreams without being stored, and pushes are refused.
- alert: CacheRegistryNoSpace
  expr: sum by (kind) (increase(cache_registry_not_stored_total{ {{- $registry -}} }[30m])) > 0
  for: 15m
  labels: { severity: warning }
  annotations:
    summary: Content is passed on without being stored ({{ `{{ $labels.kind }}` }}).
    description: The quota or the volume is too small for what the cluster uses.
- alert: CacheRegistryGarbageCollectionBehind
  expr: max(cache_registry_gc_oldest_due_seconds{ {{- $registry -}} }) > 21600
  for: 30m
  labels: { severity: warning }
  annotations:
    summary: Garbage collection is {{ `{{ $value | humanizeDuration }}` }} behind.
    description: Space that nothing uses is not given back.
- alert: CacheRegistryContentDamaged
  expr: sum by (action) (increase(cache_registry_scrub_findings_total{ {{- $registry -}} }[1d])) > 0
  labels: { severity: warning }
  annotations:
    summary: The scrub found damaged or missing content ({{ `{{ $labels.action }}` }}).
    description: The volume or what is below it loses data.
- alert: CacheRegistryWebhookErrors
  expr: sum(increase(cache_registry_webhook_reviews_total{outcome="failed", {{- $webhook -}} }[15m])) > 0
  for: 15m
  labels: { severity: warning }
  annotations:
    summary: The webhook fails to review pods.
    description: These pods are left as they are.
- alert: CacheRegistryRewritingPaused
  expr: min(cache_registry_webhook_cluster_healthy{ {{- $webhook -}} }) == 0
  for: 15m
  labels: { severity: warning }
  annotations:
    summary: No pod is rewritten, as the cache is not healthy.
    description: The registry or the proxies of some nodes are not ready, or the controllers do not say.
- alert: CacheRegistryCertificateExpiring
  expr: min by (name, pod) (cache_registry_certificate_not_after_seconds{ {{- $any -}} }) - time() < 5 * 86400
  for: 1h
  labels: { severity: critical }
  annotations:
    summary: The certificate {{ `{{ $labels.name }}` }} of {{ `{{ $labels.pod }}` }} expires in {{ `{{ $value | humanizeDuration }}` }}.
    description: Whoever renews it does not. An expired certificate of the webhook means that nothing is rewritten.
- alert: CacheRegistryConfigurationInvalid
  expr: min by (pod) (cache_registry_config_last_reload_successful{ {{- $any -}} }) == 0
  for: 10m
  labels: { severity: warning }
  annotations:
    summary: The configuration file of {{ `{{ $labels.pod }}` }} is not valid.
    description: The process goes on with the one before, and would not start again.
- alert: CacheRegistryImagesFailed
  expr: max(cache_registry_cached_images{phase="Failed", {{- $controllers -}} }) > 0
  for: 1h
  labels: { severity: warning }
  annotations:
    summary: "{{ `{{ $value }}` }} images that pods use are not in the cache."
    description: kubectl get cachedimages shows which, and their conditions why. They depend on their upstreams.
- alert: CacheRegistryPullsRefused
  expr: sum(increase(cache_registry_refused_pulls_total{outcome="failed", {{- $controllers -}} }[30m])) > 0
  labels: { severity: critical }
  annotations:
    summary: Rewritten pods cannot pull their image, and it could not be given back either.
    description: Events of the pods say why.
{{- end }}
