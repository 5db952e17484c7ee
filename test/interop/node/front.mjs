// A front on Node's HTTP/2 server: it passes every WebSocket that a client opens with extended CONNECT (RFC 8441)
// to an HTTP/1.1 server, as an upgrade.
//
//   node front.mjs HOST:PORT CHAIN.pem KEY.pem BACKEND_HOST:PORT
//
// It serves until SIGTERM.
import {randomBytes} from 'node:crypto';
import {readFileSync} from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import {pipeline} from 'node:stream';

const [listen, chain, key, backend] = process.argv.slice(2);

// parse takes "127.0.0.1:80" and "[::1]:80".
function parse(addr) {
  const url = new URL(`tcp://${addr}`);
  return {host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port)};
}

function upgrade(stream, headers) {
  const request = http.request({
    ...parse(backend),
    path: headers[':path'],
    headers: {
      'Host': headers[':authority'],
      'Connection': 'Upgrade',
      'Upgrade': 'websocket',
      'Sec-WebSocket-Version': headers['sec-websocket-version'],
      'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
      'Via': '2.0 node',
    },
  });
  request.on('upgrade', (response, socket, head) => {
    stream.respond({':status': 200});
    socket.unshift(head);
    join(stream, socket);
  });
  request.on('response', (response) => {
    stream.respond({':status': response.statusCode}, {endStream: true});
    response.resume();
  });
  request.on('error', () => stream.close(http2.constants.NGHTTP2_CONNECT_ERROR));
  stream.on('error', () => request.destroy());
  request.end();
}

// join carries the bytes both ways. The end of one side ends that direction alone; an error ends both.
function join(stream, socket) {
  pipeline(stream, socket, (error) => error && socket.resetAndDestroy());
  pipeline(socket, stream, (error) => error && stream.close(http2.constants.NGHTTP2_CONNECT_ERROR));
}

const server = http2.createSecureServer({
  cert: readFileSync(chain),
  key: readFileSync(key),
  settings: {enableConnectProtocol: true},
});
server.on('stream', (stream, headers) => {
  if (headers[':method'] === 'CONNECT' && headers[':protocol'] === 'websocket') {
    upgrade(stream, headers);
    return;
  }
  stream.respond({':status': 404}, {endStream: true});
});
server.on('sessionError', (error) => console.error(error));
server.listen(parse(listen));
process.on('SIGTERM', () => process.exit(0));
