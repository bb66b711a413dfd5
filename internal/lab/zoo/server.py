"""Python's TLS server as a receiver. Arguments: port, certificate, key, authorities, keep-alive in seconds."""

import http.server
import ssl
import sys

port, cert, key, ca, keep_alive = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
context.load_verify_locations(ca)
context.verify_mode = ssl.CERT_REQUIRED


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = int(keep_alive)
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        echo = self.headers["x-webhook-interaction-id"]
        behaviour = self.path.split("/")[1]
        if behaviour == "http10":
            self.wfile.write(b"HTTP/1.0 202 Accepted\r\nx-webhook-interaction-id: " + echo.encode() + b"\r\n\r\n")
            self.close_connection = True
            return
        self.send_response(301 if behaviour == "redirect" else 202)
        self.send_header("x-webhook-interaction-id", echo)
        if behaviour == "redirect":
            self.send_header("Location", "https://elsewhere.example.com/")
        if behaviour == "close":
            self.send_header("Connection", "close")
        if behaviour == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\naccep\r\n3\r\nted\r\n0\r\n\r\n")
            return
        self.send_header("Content-Length", "0")
        self.end_headers()
        if behaviour == "silent-close":
            self.close_connection = True

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def get_request(self):
        raw, address = super().get_request()
        raw.settimeout(10)
        # The handshake comes with the first read, in the connection's own thread.
        return context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False), address

    def shutdown_request(self, request):
        try:
            request.unwrap()  # says goodbye, as servers do
        except (OSError, ValueError):
            pass
        super().shutdown_request(request)

    def handle_error(self, request, address):
        pass


Server(("127.0.0.1", int(port)), Receiver).serve_forever()
