package zoo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// command writes the receiver's configuration and returns how it is started in the foreground.
func (p Program) command(o Options, port int) ([]string, error) {
	seconds := fmt.Sprint(int(o.KeepAlive.Seconds()))
	switch p.Receiver {
	case Node, Python:
		script := filepath.Join(o.Dir, "server")
		text := nodeServer
		if p.Receiver == Python {
			text = pythonServer
		}
		if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
			return nil, err
		}
		return []string{p.path, script, fmt.Sprint(port), o.Certificate, o.Key, o.ClientCAs, seconds}, nil
	}
	authorities, err := splitPEM(o.ClientCAs, o.Dir)
	if err != nil {
		return nil, err
	}
	both := filepath.Join(o.Dir, "certificate-and-key.pem")
	if err := joinFiles(both, o.Certificate, o.Key); err != nil {
		return nil, err
	}
	templates := configs
	if o.Front != nil {
		templates = fronts
		if o.Front.Certificate != "" {
			o.Front.Both = filepath.Join(o.Dir, "front.pem")
			if err := joinFiles(o.Front.Both, o.Front.Certificate, o.Front.Key); err != nil {
				return nil, err
			}
		}
	}
	host, backendPort, _ := strings.Cut(o.Backend, ":")
	var text strings.Builder
	err = templates[p.Receiver].Execute(&text, map[string]any{
		"Front": o.Front, "PerLocation": o.PerLocation,
		"Dir": o.Dir, "Port": port, "Certificate": o.Certificate, "Key": o.Key, "Both": both, "ClientCAs": o.ClientCAs,
		"Authorities": authorities, "Seconds": seconds, "Backend": o.Backend, "BackendHost": host, "BackendPort": backendPort,
		"Root": p.root, "IsRoot": os.Geteuid() == 0, "RedirectsTo": RedirectsTo,
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(o.Dir, "config")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		return nil, err
	}
	return map[Receiver][]string{
		Nginx:    {p.path, "-p", o.Dir, "-c", file},
		Apache:   {p.path, "-X", "-f", file},
		HAProxy:  {p.path, "-db", "-f", file},
		Lighttpd: {p.path, "-D", "-f", file, "-m", p.root + "/usr/lib/lighttpd"},
		Caddy:    {p.path, "run", "--adapter", "caddyfile", "--config", file},
	}[p.Receiver], nil
}

func config(text string) *template.Template { return template.Must(template.New("").Parse(text)) }

// configs are written as an operator would write them, with the defaults where they matter.
var configs = map[Receiver]*template.Template{
	Nginx: config(`
daemon off; master_process off; worker_processes 1; pid {{.Dir}}/pid; error_log stderr error; {{if .IsRoot}}user root;{{end}}
events { worker_connections 512; }
http {
  access_log off; keepalive_timeout {{.Seconds}}s;
  client_body_temp_path {{.Dir}}/a; proxy_temp_path {{.Dir}}/b; fastcgi_temp_path {{.Dir}}/c; uwsgi_temp_path {{.Dir}}/d; scgi_temp_path {{.Dir}}/e;
  server {
    listen 127.0.0.1:{{.Port}} ssl;
    ssl_certificate {{.Certificate}}; ssl_certificate_key {{.Key}}; ssl_protocols TLSv1.2 TLSv1.3;
    ssl_client_certificate {{.ClientCAs}}; ssl_verify_client on; ssl_verify_depth 3;
    add_header x-webhook-interaction-id $http_x_webhook_interaction_id always;
    location /good/ { return 202; }
    location /close/ { keepalive_timeout 0; return 202; }
    location /redirect/ { return 301 {{.RedirectsTo}}; }
    location / { proxy_hide_header x-webhook-interaction-id; proxy_http_version 1.1; proxy_pass http://{{.Backend}}; }
  }
}
`),
	Apache: config(`
ServerRoot {{.Dir}}
ServerName localhost
PidFile {{.Dir}}/pid
DefaultRuntimeDir {{.Dir}}
Listen 127.0.0.1:{{.Port}}
ErrorLog /dev/stderr
LogLevel error
{{if .IsRoot}}User www-data
Group www-data{{end}}
{{$modules := printf "%s/usr/lib/apache2/modules" .Root -}}
LoadModule mpm_event_module {{$modules}}/mod_mpm_event.so
LoadModule authz_core_module {{$modules}}/mod_authz_core.so
LoadModule setenvif_module {{$modules}}/mod_setenvif.so
LoadModule ssl_module {{$modules}}/mod_ssl.so
LoadModule rewrite_module {{$modules}}/mod_rewrite.so
LoadModule proxy_module {{$modules}}/mod_proxy.so
LoadModule proxy_http_module {{$modules}}/mod_proxy_http.so
KeepAlive On
KeepAliveTimeout {{.Seconds}}
SSLSessionCache none
<VirtualHost 127.0.0.1:{{.Port}}>
  SSLEngine on
  SSLProtocol -all {{if .PerLocation}}+{{.PerLocation}}{{else}}+TLSv1.2 +TLSv1.3{{end}}
  SSLCertificateFile {{.Certificate}}
  SSLCertificateKeyFile {{.Key}}
  SSLCACertificateFile {{.ClientCAs}}
{{- if .PerLocation}}
  <Location />
    SSLVerifyClient require
    SSLVerifyDepth 3
  </Location>
{{- else}}
  SSLVerifyClient require
  SSLVerifyDepth 3
{{- end}}
  SetEnvIf Request_URI ^/close/ nokeepalive
  SetEnvIf Request_URI ^/http10/ downgrade-1.0 force-response-1.0
  RewriteEngine On
  RewriteRule ^/redirect/ {{.RedirectsTo}} [R=301,L]
  RewriteRule ^/(.*) http://{{.Backend}}/$1 [P]
</VirtualHost>
`),
	HAProxy: config(`
global
  maxconn 200
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
  timeout http-request 5s
  timeout http-keep-alive {{.Seconds}}s
frontend receiver
  bind 127.0.0.1:{{.Port}} ssl crt {{.Both}} ca-file {{.ClientCAs}} verify required alpn http/1.1
  http-request set-var(txn.close) bool(true) if { path_beg /close/ }
  http-request redirect location {{.RedirectsTo}} code 301 if { path_beg /redirect/ }
  http-request return status 202 hdr x-webhook-interaction-id "%[req.fhdr(x-webhook-interaction-id)]" if { path_beg /good/ }
  http-after-response set-header Connection close if { var(txn.close) -m bool }
  default_backend application
backend application
  server one {{.Backend}}
`),
	Lighttpd: config(`
server.modules = ("mod_openssl", "mod_redirect", "mod_proxy")
server.document-root = "{{.Dir}}"
server.bind = "127.0.0.1"
server.port = {{.Port}}
server.max-keep-alive-idle = {{.Seconds}}
server.feature-flags = ("server.h2proto" => "disable")
ssl.engine = "enable"
ssl.pemfile = "{{.Certificate}}"
ssl.privkey = "{{.Key}}"
ssl.ca-file = "{{.ClientCAs}}"
ssl.verifyclient.activate = "enable"
ssl.verifyclient.enforce = "enable"
ssl.verifyclient.depth = 3
$HTTP["url"] =~ "^/redirect/" {
  url.redirect = ("" => "{{.RedirectsTo}}")
  url.redirect-code = 301
} else {
  proxy.server = ("" => (("host" => "{{.BackendHost}}", "port" => {{.BackendPort}})))
}
$HTTP["url"] =~ "^/close/" { server.max-keep-alive-requests = 0 }
`),
	Caddy: config(`
{
	admin off
	auto_https off
	storage file_system {{.Dir}}/storage
	log {
		level ERROR
	}
	servers {
		protocols h1
		timeouts {
			idle {{.Seconds}}s
		}
	}
}
https://localhost:{{.Port}} {
	bind 127.0.0.1
	tls {{.Certificate}} {{.Key}} {
		client_auth {
			mode require_and_verify{{range .Authorities}}
			trusted_ca_cert_file {{.}}{{end}}
		}
	}
	handle /good/* {
		header x-webhook-interaction-id {http.request.header.x-webhook-interaction-id}
		respond 202
	}
	handle /redirect/* {
		redir {{.RedirectsTo}} 301
	}
	handle /close/* {
		header x-webhook-interaction-id {http.request.header.x-webhook-interaction-id}
		header Connection close
		respond 202
	}
	handle {
		reverse_proxy {{.Backend}}
	}
}
`),
}
