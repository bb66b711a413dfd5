// Node's TLS server as a receiver. Arguments: port, certificate, key, authorities, keep-alive in seconds.
'use strict';
const fs = require('fs');
const https = require('https');
const [port, cert, key, ca, keepAlive] = process.argv.slice(2);
const server = https.createServer({
  cert: fs.readFileSync(cert), key: fs.readFileSync(key), ca: fs.readFileSync(ca), requestCert: true, rejectUnauthorized: true,
}, (request, response) => {
  request.resume();
  request.on('end', () => {
    const id = request.headers['x-webhook-interaction-id'] || '';
    const behaviour = request.url.split('/')[1];
    if (behaviour === 'http10') {
      request.socket.end(`HTTP/1.0 202 Accepted\r\nx-webhook-interaction-id: ${id}\r\n\r\n`);
      return;
    }
    response.setHeader('x-webhook-interaction-id', id);
    switch (behaviour) {
      case 'redirect':
        response.writeHead(301, { Location: 'https://elsewhere.example.com/', 'Content-Length': 0 });
        break;
      case 'chunked':
        response.writeHead(202);
        response.write('accep');
        response.write('ted');
        break;
      case 'close':
        response.writeHead(202, { Connection: 'close', 'Content-Length': 0 });
        break;
      default:
        response.writeHead(202, { 'Content-Length': 0 });
    }
    response.end(() => { if (behaviour === 'silent-close') request.socket.end(); });
  });
});
server.keepAliveTimeout = keepAlive * 1000;
server.listen(Number(port), '127.0.0.1');
