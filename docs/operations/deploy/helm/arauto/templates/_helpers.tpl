{{- define "arauto.labels" -}}
app.kubernetes.io/name: arauto
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- /* the port of console.addr; nothing without a console */ -}}
{{- define "arauto.console" -}}
{{- dig "console" "addr" "" .Values.settings | splitList ":" | last }}
{{- end }}
{{- /* the rule that lets pods reach the servers of the database */ -}}
{{- define "arauto.database" -}}
- to:
    {{- range .Values.network.database.cidrs }}
    - {ipBlock: {cidr: {{ . }}}}
    {{- end }}
  ports: [{port: {{ .Values.network.database.port }}, protocol: TCP}]
{{- end }}
{{- /* of what runs before a replica and ends */ -}}
{{- define "arauto.small" -}}
{requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 256Mi}}
{{- end }}
{{- define "arauto.locked" -}}
{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
{{- end }}
