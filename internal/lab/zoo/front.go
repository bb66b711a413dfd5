package zoo

import "text/template"

// Front makes a program a proxy of the bank's before our public listener, instead of a receiver: it ends the TLS of initiators and
// hands their certificate on, or leaves TLS alone and names the source address.
type Front struct {
	Upstream    string // host:port of the public listener
	Roots       string // PEM file: the authorities of its certificate, which is for localhost
	Certificate string // PEM file: what the proxy shows it; "": TLS is left alone, with the PROXY protocol, version 2
	Key         string // PEM file of its key
	Value       string // of the header X-SSL-Client-Cert, in the language of the proxy

	Both string // Certificate and Key in one file; written by Start
}

// fronts are written as docs/operations/running.md tells operators to write them.
var fronts = map[Receiver]*template.Template{
	Nginx: config(`
daemon off; master_process off; worker_processes 1; pid {{.Dir}}/pid; error_log stderr error; {{if .IsRoot}}user root;{{end}}
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path {{.Dir}}/a; proxy_temp_path {{.Dir}}/b; fastcgi_temp_path {{.Dir}}/c; uwsgi_temp_path {{.Dir}}/d; scgi_temp_path {{.Dir}}/e;
  server {
    listen 127.0.0.1:{{.Port}} ssl;
    ssl_certificate {{.Certificate}}; ssl_certificate_key {{.Key}}; ssl_protocols TLSv1.2 TLSv1.3;
    ssl_client_certificate {{.ClientCAs}}; ssl_verify_client on; ssl_verify_depth 3;
    location / {
      proxy_pass https://{{.Front.Upstream}}; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_ssl_certificate {{.Front.Certificate}}; proxy_ssl_certificate_key {{.Front.Key}};
      proxy_ssl_trusted_certificate {{.Front.Roots}}; proxy_ssl_verify on; proxy_ssl_verify_depth 3; proxy_ssl_name localhost; proxy_ssl_server_name on;
      proxy_ssl_session_reuse off;
      proxy_set_header X-SSL-Client-Cert {{.Front.Value}};
    }
  }
}
`),
	HAProxy: config(`
global
  maxconn 200
defaults
  timeout connect 5s
  timeout client 10s
  timeout server 10s
{{if .Front.Certificate -}}
frontend initiators
  mode http
  bind 127.0.0.1:{{.Port}} ssl crt {{.Both}} ca-file {{.ClientCAs}} verify required alpn http/1.1
  http-request set-header X-SSL-Client-Cert {{.Front.Value}}
  default_backend arauto
backend arauto
  mode http
  server one {{.Front.Upstream}} ssl crt {{.Front.Both}} ca-file {{.Front.Roots}} verify required sni str(localhost) verifyhost localhost alpn http/1.1 no-ssl-reuse
{{else -}}
frontend initiators
  mode tcp
  bind 127.0.0.1:{{.Port}}
  default_backend arauto
backend arauto
  mode tcp
  server one {{.Front.Upstream}} send-proxy-v2
{{end -}}
`),
}
