{{/* The container of postern, but for restartPolicy. */}}
{{- define "postern.container" -}}
name: postern
image: {{ include "postern.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [run, --config, /etc/postern/config.hcl]
{{- with include "postern.securityContext" . }}
securityContext:
  {{- . | nindent 2 }}
{{- end }}
ports:
  {{- if ne .Values.mode "egress" }}
  - {name: smtp, containerPort: {{ .Values.ports.smtp }}, protocol: TCP}
  {{- end }}
  {{- if ne .Values.mode "edge" }}
  - {name: egress, containerPort: {{ .Values.ports.egress }}, protocol: TCP}
  {{- end }}
  - {name: admin, containerPort: {{ .Values.ports.admin }}, protocol: TCP}
# The mail server of a sidecar starts only after this has succeeded, so it cannot
# be /readyz, which waits for that mail server.
startupProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 5
  timeoutSeconds: 5
lifecycle:
  preStop:
    sleep: {seconds: {{ .Values.drain.preStopSeconds }}}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - {name: postern-config, mountPath: /etc/postern, readOnly: true}
  {{- range $name, $_ := .Values.certificates }}
  - {name: postern-certificate-{{ $name }}, mountPath: /certificates/{{ $name }}, readOnly: true}
  {{- end }}
  - {name: postern-state, mountPath: /var/lib/postern}
  - {name: postern-run, mountPath: /run/postern}
{{- end }}

{{/*
With client_address transparent postern needs CAP_NET_RAW. Kubernetes gives
capabilities to root alone, who has no other then.
*/}}
{{- define "postern.securityContext" -}}
{{- if include "postern.transparent" . }}
{{- $raw := dict "runAsNonRoot" false "runAsUser" 0 "runAsGroup" 0 "capabilities" (dict "drop" (list "ALL") "add" (list "NET_RAW")) }}
{{- toYaml (mergeOverwrite (deepCopy .Values.securityContext) $raw) }}
{{- else }}
{{- with .Values.securityContext }}{{ toYaml . }}{{ end }}
{{- end }}
{{- end }}

{{/* What the container of the mail server has unless it says otherwise. */}}
{{- define "postern.mtaDefaults" -}}
{{- if not .Values.sidecar.mta.lifecycle }}
lifecycle:
  preStop:
    sleep: {seconds: {{ .Values.drain.preStopSeconds }}}
{{- end }}
{{- end }}

{{/*
The container that has the kernel turn connections over. It comes before the
sidecar: until that listens, connections are refused, and mail waits.
*/}}
{{- define "postern.redirectContainer" -}}
name: postern-redirect
image: {{ include "postern.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args:
  - redirect
  - install
  - --outbound={{ .Values.ports.egress }}
  - --inbound={{ .Values.ports.smtp }}
  {{- with include "postern.transparent" . }}
  - --transparent={{ . }}
  - --exempt-mark={{ $.Values.redirect.mark }}
  {{- else }}
  - --exempt-uid={{ required "redirect needs securityContext.runAsUser, by which the connections of postern are told from those of the mail server" .Values.securityContext.runAsUser | int64 }}
  {{- end }}
  {{- range .Values.redirect.extraArgs }}
  - {{ . | quote }}
  {{- end }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
    add: [NET_ADMIN]
  readOnlyRootFilesystem: true
  runAsNonRoot: false
  runAsUser: 0
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.redirect.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
The volumes of postern. The files of a Secret are readable by all users of the
container that it is mounted into, which is postern's alone.
*/}}
{{- define "postern.volumes" -}}
- name: postern-config
  configMap:
    name: {{ include "postern.fullname" . }}
{{- range $name, $from := .Values.certificates }}
- name: postern-certificate-{{ $name }}
  secret:
    secretName: {{ $from.secretName }}
    defaultMode: 0444
{{- end }}
- name: postern-state
  {{- with .Values.persistence.existingClaim }}
  persistentVolumeClaim:
    claimName: {{ . }}
  {{- else }}
  emptyDir: {}
  {{- end }}
- name: postern-run
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- end }}

{{- define "postern.podSecurityContext" -}}
{{- if and .Values.persistence.existingClaim (ne .Values.mode "sidecar") (not .Values.podSecurityContext.fsGroup) .Values.securityContext.runAsGroup }}
{{- merge (dict "fsGroup" .Values.securityContext.runAsGroup) .Values.podSecurityContext | toYaml }}
{{- else }}
{{- with .Values.podSecurityContext }}{{ toYaml . }}{{ end }}
{{- end }}
{{- end }}
