{{- define "limner.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-limner" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end -}}
{{- end -}}

{{- define "limner.selector" -}}
app.kubernetes.io/name: limner
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .pool }}
limner/pool: {{ . }}
{{- end }}
{{- end -}}

{{- define "limner.labels" -}}
{{ include "limner.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{- define "limner.image" -}}
{{- $tag := .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{ .repository }}{{ ternary "@" ":" (hasPrefix "sha256:" $tag) }}{{ $tag }}
{{- end -}}

{{/*
The value of a variable. Helm reads numbers as floating point, which is written with an exponent from a million on.
*/}}
{{- define "limner.text" -}}
{{- if eq (kindOf .) "float64" -}}
{{- ternary (printf "%.0f" .) (toString .) (eq (floor .) .) | quote -}}
{{- else -}}
{{- toString . | quote -}}
{{- end -}}
{{- end -}}

{{/* What selects the metrics of this installation alone: the operator sets `namespace`, the monitors set `cell`. */}}
{{- define "limner.ours" -}}
namespace={{ .Release.Namespace | quote }}{{ with .Values.settings.cell }},cell={{ . | quote }}{{ end }}
{{- end -}}

{{- define "limner.relabelings" -}}
{{- with .Values.settings.cell }}
relabelings: [{ targetLabel: cell, replacement: {{ . }} }]
{{- end }}
{{- end -}}

{{/* The environment that all processes share. */}}
{{- define "limner.environment" -}}
- name: LIMNER_DATABASE_URL
  valueFrom: { secretKeyRef: {{ toJson .root.Values.database.urlSecret }} }
{{- if .root.Values.valkey.enabled }}
- name: VALKEY_PASSWORD
  valueFrom: { secretKeyRef: {{ toJson .root.Values.valkey.passwordSecret }} }
- name: LIMNER_REDIS_URL
  value: redis://:$(VALKEY_PASSWORD)@{{ include "limner.name" .root }}-valkey:6379/0
{{- else }}
- name: LIMNER_REDIS_URL
  valueFrom: { secretKeyRef: {{ toJson .root.Values.redis.urlSecret }} }
{{- end }}
{{- if .root.Values.signingKeySecret.name }}
- name: LIMNER_SIGNING_KEY
  valueFrom: { secretKeyRef: {{ toJson .root.Values.signingKeySecret }} }
{{- end }}
- name: LIMNER_DATA_DIR
  value: /data
- name: LIMNER_LOG_FORMAT
  value: json
- name: LIMNER_METRICS_HOST
  value: 0.0.0.0
- name: LIMNER_METRICS_PORT
  value: "9100"
- name: LIMNER_BLOB_URL
  value: {{ required "blobUrl: name a bucket, such as s3://bucket/prefix, that all pods reach" .root.Values.blobUrl | quote }}
{{- if .root.Values.cards }}
- name: LIMNER_MODELS
  value: /cards
{{- end }}
{{- if .root.Values.c2paSecret }}
- name: LIMNER_C2PA_CERTIFICATE
  value: /certificates/tls.crt
- name: LIMNER_C2PA_KEY
  value: /certificates/tls.key
{{- end }}
{{- with .root.Values.otel.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- range $name, $value := .root.Values.otel.environment }}
- name: {{ $name }}
  value: {{ include "limner.text" $value }}
{{- end }}
{{- range $name, $value := .root.Values.settings }}
- name: LIMNER_{{ upper $name }}
  value: {{ include "limner.text" $value }}
{{- end }}
{{- end -}}

{{- define "limner.environmentFrom" -}}
{{- with .root.Values.environmentSecrets }}
envFrom:
{{- range . }}
  - secretRef: { name: {{ . }} }
{{- end }}
{{- end }}
{{- end -}}

{{/* The operator's own volumes or mounts, as further items of a list. */}}
{{- define "limner.extra" -}}
{{- range . }}
- {{ toJson . }}
{{- end }}
{{- end -}}

{{- define "limner.mounts" -}}
- { name: data, mountPath: /data }
- { name: tmp, mountPath: /tmp }
{{- if .root.Values.cards }}
- { name: cards, mountPath: /cards, readOnly: true }
{{- end }}
{{- if .root.Values.c2paSecret }}
- { name: certificates, mountPath: /certificates, readOnly: true }
{{- end }}
{{- include "limner.extra" .root.Values.extraVolumeMounts }}
{{- end -}}

{{/*
All uploads that the processes of a web pod accept at once wait on its disk until they are stored; a gibibyte is left
for pictures in forms and for archives that are being sent. The kubelet evicts a pod that needs more.
*/}}
{{- define "limner.uploadRoom" -}}
{{- $bytes := int64 (.Values.settings.max_bulk_bytes | default 1073741824) -}}
{{- $uploads := mul .Values.web.processes (.Values.settings.max_bulks | default 4) $bytes -}}
{{- printf "%dMi" (add 1024 (div (add $uploads 1048575) 1048576)) -}}
{{- end -}}

{{- define "limner.volumes" -}}
- { name: data, emptyDir: {} }
- { name: tmp, emptyDir: { sizeLimit: {{ eq .component "web" | ternary (include "limner.uploadRoom" .root) "5Gi" }} } }
{{- if .root.Values.cards }}
- { name: cards, configMap: { name: {{ include "limner.name" .root }}-cards } }
{{- end }}
{{- if .root.Values.c2paSecret }}
- { name: certificates, secret: { secretName: {{ .root.Values.c2paSecret }}, defaultMode: 288 } } # 0440
{{- end }}
{{- include "limner.extra" .root.Values.extraVolumes }}
{{- end -}}

{{- define "limner.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "limner.name" .) "" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "limner.podSecurity" -}}
{{- /* The migration runs before the chart's own account is there. */ -}}
{{- if not (and .root.Values.serviceAccount.create (eq .component "migrate")) }}
{{- with include "limner.serviceAccount" .root }}
serviceAccountName: {{ . }}
{{- end }}
{{- end }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: { type: RuntimeDefault }
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "limner.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{- define "limner.spread" -}}
{{- if .root.Values.topologySpread }}
topologySpreadConstraints:
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector: { matchLabels: {{ include "limner.selector" $ | fromYaml | toJson }} }
{{- end }}
{{- end }}
{{- end -}}

{{/* Labels and annotations of a pod; the operator's own never replace those that the chart selects by. */}}
{{- define "limner.podMetadata" -}}
labels: {{- merge (include "limner.labels" . | fromYaml) .root.Values.podLabels | toYaml | nindent 2 }}
{{- $checksum := dict "checksum/cards" (toJson .root.Values.cards | sha256sum | trunc 16) }}
annotations: {{- merge (eq .component "migrate" | ternary (dict) $checksum) .root.Values.podAnnotations | toYaml | nindent 2 }}
{{- end -}}

{{/* Alive and ready means progress: the operator's port answers 503 while a thread is beyond its time limit. */}}
{{- define "limner.progressProbes" -}}
startupProbe:
  httpGet: { path: /healthz, port: metrics }
  periodSeconds: 5
  failureThreshold: {{ div .startupSeconds 5 | max 1 }}
livenessProbe:
  httpGet: { path: /healthz, port: metrics }
  periodSeconds: 15
  timeoutSeconds: 10
  failureThreshold: 4
readinessProbe:
  httpGet: { path: /healthz, port: metrics }
  periodSeconds: 10
  timeoutSeconds: 5
{{- end -}}
