{{/* The name of all resources. */}}
{{- define "sallyport.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains "sallyport" .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-sallyport" .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "sallyport.redis" -}}
{{- include "sallyport.fullname" . }}-redis
{{- end -}}

{{- define "sallyport.secret" -}}
{{- .Values.secret.name | default (include "sallyport.fullname" .) -}}
{{- end -}}

{{/* The labels that never change: a selector of a Deployment can't. */}}
{{- define "sallyport.selector" -}}
app.kubernetes.io/name: sallyport
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- define "sallyport.redisSelector" -}}
app.kubernetes.io/name: sallyport-redis
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sallyport.commonLabels" -}}
app.kubernetes.io/part-of: sallyport
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "sallyport.labels" -}}
{{ include "sallyport.selector" . }}
{{ include "sallyport.commonLabels" . }}
{{- end -}}

{{- define "sallyport.redisLabels" -}}
{{ include "sallyport.redisSelector" . }}
{{ include "sallyport.commonLabels" . }}
{{- end -}}

{{/* The files of the config's folder, by name. */}}
{{- define "sallyport.files" -}}
{{- $config := .Values.configFile | default (toPrettyJson .Values.config) -}}
{{- toYaml (merge (dict "gateway.json" $config) .Values.files) -}}
{{- end -}}
