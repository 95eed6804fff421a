{{/*
What each mode needs in the configuration. The values of config are laid over it.
Kinds of state exclude each other, so a state in values replaces this one.
*/}}
{{- define "postern.defaults" -}}
{{- $edge := ne .Values.mode "egress" }}
{{- $egress := ne .Values.mode "edge" }}
log: {format: json}
{{- if include "postern.transparent" . }}
mark: {{ .Values.redirect.mark }}
{{- end }}
admin:
  listen: {{ printf ":%v" .Values.ports.admin }}
  socket: /run/postern/admin.sock
{{- if not .Values.config.state }}
state:
  bolt: {path: /var/lib/postern/state.db}
{{- end }}
{{- if $edge }}
certificate:
  {{- range $name, $_ := .Values.certificates }}
  {{ $name }}:
    cert_file: /certificates/{{ $name }}/tls.crt
    key_file: /certificates/{{ $name }}/tls.key
  {{- else }}
  self-signed:
    self_signed: [{{ .Values.config.hostname | quote }}]
  {{- end }}
inbound:
  mx:
    listen: [":{{ .Values.ports.smtp }}"]
    # It stands for port 25, whatever its number is in the pod.
    session_tickets: false
    shutdown_grace: {{ .Values.drain.graceSeconds }}s
{{- end }}
{{- if $egress }}
outbound:
  egress:
    {{- if .Values.redirect.enabled }}
    # What is redirected arrives at loopback, of both families.
    listen: [":{{ .Values.ports.egress }}"]
    route: original
    {{- else }}
    listen: ["{{ ternary "127.0.0.1" "" $edge }}:{{ .Values.ports.egress }}"]
    route: mx
    {{- end }}
    shutdown_grace: {{ .Values.drain.graceSeconds }}s
{{- end }}
{{- end }}

{{/*
The backends that are to see the client's own address on the connection, with commas;
empty for none. Only values tell, not configFile.
*/}}
{{- define "postern.transparent" -}}
{{- $all := list }}
{{- range $name, $in := .Values.config.inbound }}
{{- $backend := ($in).backend | default dict }}
{{- if eq ($backend.client_address | default "") "transparent" }}
{{- if not $.Values.redirect.enabled }}
{{- fail (printf "config.inbound.%s.backend.client_address transparent needs redirect.enabled, which brings the answers of the mail server back to postern" $name) }}
{{- end }}
{{- $all = concat $all ($backend.addresses | default (list ($backend.address | default "127.0.0.1:25"))) }}
{{- end }}
{{- end }}
{{- $all | uniq | join "," }}
{{- end }}

{{/* The values of the configuration, checked for what has no default. */}}
{{- define "postern.config" -}}
{{- if not .Values.config.hostname }}
{{- fail "set config.hostname to the name of the mail server that the Internet knows, such as mx1.example.org (or give the whole configuration as configFile)" }}
{{- end }}
{{- $config := mergeOverwrite (include "postern.defaults" . | fromYaml) (deepCopy .Values.config) }}
{{- range $name, $in := $config.inbound }}
{{- $backend := ($in).backend | default dict }}
{{- if and (eq $.Values.mode "sidecar") $backend (not $backend.addresses) (not $backend.address) }}
{{- $_ := set $backend "address" "127.0.0.1:25" }}
{{- end }}
{{- if not (or $backend.address $backend.addresses) }}
{{- fail (printf "set config.inbound.%s.backend.address to host:port of the mail server" $name) }}
{{- end }}
{{- if not $backend.client_address }}
{{- fail (printf "set config.inbound.%s.backend.client_address to xclient, proxy-v2, proxy-v1, transparent or none: how the mail server learns who the client is. A mail server that takes every client for its neighbour relays for the whole world" $name) }}
{{- end }}
{{- end }}
{{- if eq .Values.mode "egress" }}
{{- range $name, $out := $config.outbound }}
{{- if not ($out).from }}
{{- fail (printf "set config.outbound.%s.from to the networks of your mail servers, such as [\"10.0.0.0/8\"]: whoever is in them can send mail to anyone in your name" $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* The text of config.hcl. */}}
{{- define "postern.hcl" -}}
{{- if .Values.configFile }}
{{- .Values.configFile | trim }}
{{- else }}
{{- include "postern.hclBody" (dict "body" (include "postern.config" . | fromYaml) "indent" "") | trim }}
{{- end }}
{{- end }}

{{/*
The inside of a block, given body and indent: attributes first, then blocks. A map
is a block; under the names of blocks that are labelled, it is one block for each
key. What is JSON is HCL, but for ${ and %{, which begin a template there.
*/}}
{{- define "postern.hclBody" -}}
{{- $indent := .indent }}
{{- range $name, $value := .body }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ $indent }}{{ $name }} = {{ $value | toJson | replace "${" "$${" | replace "%{" "%%{" }}
{{- end }}
{{- end }}
{{- range $name, $value := .body }}
{{- if kindIs "map" $value }}
{{- if has $name (list "state" "certificate" "inbound" "outbound" "destination") }}
{{- range $label, $body := $value }}
{{- if kindIs "map" $body }}
{{ $indent }}{{ $name }} {{ $label | quote }} {
{{- include "postern.hclBody" (dict "body" $body "indent" (printf "%s  " $indent)) }}
{{ $indent }}}
{{- end }}
{{- end }}
{{- else }}
{{ $indent }}{{ $name }} {
{{- include "postern.hclBody" (dict "body" $value "indent" (printf "%s  " $indent)) }}
{{ $indent }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
