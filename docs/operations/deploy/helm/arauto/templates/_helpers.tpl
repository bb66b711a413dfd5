{{- define "arauto.labels" -}}
app.kubernetes.io/name: arauto
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- /* the port of console.addr; nothing without a console */ -}}
{{- define "arauto.console" -}}
{{- $console := get .Values.settings "console" | default dict }}
{{- get $console "addr" | default "" | splitList ":" | last }}
{{- end }}
{{- /* the rule that lets pods reach the servers of the database */ -}}
{{- define "arauto.database" -}}
{{- $cidrs := .Values.network.database.cidrs }}
{{- if hasKey .Values.network.database "cidr" }}
{{- fail "network.database.cidr is now cidrs, a list" }}
{{- else if or (not (kindIs "slice" $cidrs)) (not $cidrs) }}
{{- fail (printf "network.database.cidrs: %s is not a list of networks; write one of every server, such as [10.0.0.10/32]" (toJson $cidrs)) }}
{{- end -}}
- to:
    {{- range $cidrs }}
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
