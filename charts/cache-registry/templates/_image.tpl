{{- /* The image of a component: its own parts over the common ones. A tag or digest of its own replaces both of the
       common ones, or a common digest would pin another image. */}}
{{- define "cache-registry.image" -}}
{{- $common := .root.Values.image -}}
{{- $own := (index .root.Values .component).image -}}
{{- $version := ternary $own $common (or $own.tag $own.digest | empty | not) -}}
{{- $registry := $own.registry | default $common.registry -}}
{{- $repository := $own.repository | default $common.repository -}}
{{- with $registry }}{{ . }}/{{ end }}{{ $repository }}:{{ $version.tag | default .root.Chart.AppVersion }}
{{- with $version.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "cache-registry.imagePullPolicy" -}}
{{ (index .root.Values .component).image.pullPolicy | default .root.Values.image.pullPolicy }}
{{- end }}
