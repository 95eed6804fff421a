{{/* The name of the chart, as labels have it. */}}
{{- define "postern.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of all objects. It leaves room for suffixes. */}}
{{- define "postern.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "postern.selectorLabels" -}}
app.kubernetes.io/name: {{ include "postern.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .Values.mode }}
{{- end }}

{{- define "postern.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "postern.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The labels of the pod that helm test runs: it may read the admin page. */}}
{{- define "postern.testLabels" -}}
app.kubernetes.io/name: {{ include "postern.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
{{- end }}

{{- define "postern.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "postern.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "postern.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "postern.serviceType" -}}
{{ .Values.service.type | default (ternary "LoadBalancer" "ClusterIP" (eq .Values.mode "edge")) }}
{{- end }}

{{/* The port that the Service leads to: the edge's, but for an egress. */}}
{{- define "postern.servicePortName" -}}
{{ ternary "egress" "smtp" (eq .Values.mode "egress") }}
{{- end }}

{{/*
What a service mesh is to leave alone. Clients of the edge come from outside, and
mail leaves in TLS of its own: nothing of that is for the mesh. A connection to an
egress may go through it, as bytes.
*/}}
{{- define "postern.meshAnnotations" -}}
{{- $in := ne .Values.mode "egress" }}
{{- $out := ne .Values.mode "edge" }}
{{- if eq .Values.mesh "istio" }}
{{- if $in }}
traffic.sidecar.istio.io/excludeInboundPorts: {{ ternary (printf "25,%v" .Values.ports.smtp) (toString .Values.ports.smtp) .Values.redirect.enabled | quote }}
{{- end }}
{{- if $out }}
traffic.sidecar.istio.io/excludeOutboundPorts: "25,465,587"
{{- end }}
{{- else if eq .Values.mesh "linkerd" }}
{{- if $in }}
config.linkerd.io/skip-inbound-ports: {{ ternary (printf "25,%v" .Values.ports.smtp) (toString .Values.ports.smtp) .Values.redirect.enabled | quote }}
{{- end }}
{{- if $out }}
config.linkerd.io/skip-outbound-ports: "25,465,587"
{{- end }}
{{- if not $in }}
config.linkerd.io/opaque-ports: {{ .Values.ports.egress | quote }}
{{- end }}
{{- end }}
{{- end }}
