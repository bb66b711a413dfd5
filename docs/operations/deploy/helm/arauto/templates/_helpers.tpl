{{- define "arauto.labels" -}}
app.kubernetes.io/name: arauto
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "arauto.locked" -}}
{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
{{- end }}
