{{- define "ark.labels" -}}
app.kubernetes.io/name: ark
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "ark.services" -}}
app.kubernetes.io/name: ark
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: services
{{- end }}

{{- define "ark.installation" -}}
{{- dig "kubernetes" "installation" "ark" .Values.settings -}}
{{- end }}

{{- /* commands that people copy name it, so it is the port outside and inside */ -}}
{{- define "ark.sshPort" -}}
{{- dig "ssh_port" 2222 .Values.settings -}}
{{- end }}

{{- define "ark.files" -}}
{{- .Values.files.existingClaim | default "ark-files" -}}
{{- end }}

{{- define "ark.database" -}}
{{- .Values.database.existingSecret | default "ark-database" -}}
{{- end }}

{{- /* ark.yaml: what the cluster decides, and over it what the operator set */ -}}
{{- define "ark.settings" -}}
{{- $kubernetes := dict "namespace" .Release.Namespace "netdisk_claim" (include "ark.files" .) "catalogue_claim" (include "ark.files" .) }}
{{- if .Values.priorities.enabled }}
{{- $_ := set $kubernetes "priority_class_monthly" (printf "%s-monthly" .Release.Namespace) }}
{{- $_ := set $kubernetes "priority_class_payg" (printf "%s-payg" .Release.Namespace) }}
{{- end }}
{{- $decided := dict "runtime" "kubernetes" "hub_url" "http://hub:8081" "services_host" "ark-services" "listen_host" "0.0.0.0" "ssh_host" "0.0.0.0" "ssh_enabled" .Values.ssh.enabled "kubernetes" $kubernetes }}
{{- mergeOverwrite $decided (deepCopy .Values.settings) | toYaml }}
{{- end }}

{{- define "ark.environment" -}}
- {name: ARK_STATE_DIR, value: /srv/ark}
- {name: ARK_SETTINGS, value: /etc/ark/ark.yaml}
- {name: ARK_NPM_DIR, value: /opt/ark/npm}
- {name: HOME, value: /tmp}
- name: ARK_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ include "ark.database" . }}, key: url}}
{{- end }}

{{- define "ark.mounts" -}}
- {name: state, mountPath: /srv/ark}
- {name: tmp, mountPath: /tmp}
- {name: settings, mountPath: /etc/ark, readOnly: true}
- {name: secrets, mountPath: /srv/ark/secrets, readOnly: true}
- {name: files, mountPath: /srv/ark/netdisk, subPath: netdisk}
- {name: files, mountPath: /srv/ark/catalog, subPath: catalog}
{{- end }}

{{- define "ark.container.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
