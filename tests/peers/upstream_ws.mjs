// The Node library `ws` as the server behind the proxy: sends every message back, compressed if the client offers it.
// Prints its port. It refuses an upgrade that shows a credential, or that does not say who comes. First argument: the
// folder of node_modules.

import { createRequire } from 'node:module';
import path from 'node:path';

const { WebSocketServer } = createRequire(path.resolve(process.argv[2], 'package.json'))('ws');

function verifyClient({ req }) {
  const told = req.rawHeaders.join(' ') + req.url;
  const who = req.rawHeaders.filter((_, index, all) => /^x-auth-subject$/i.test(all[index - 1]));
  return !/eyJ|authorization|access_token/i.test(told) && who.join() === 'alice';
}

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  verifyClient,
  perMessageDeflate: true,
  maxPayload: 64 * 1024 * 1024,
  handleProtocols: (offered) => offered.has('chat') && 'chat',
});

server.on('connection', (socket, request) => {
  const offered = /permessage-deflate/.test(request.headers['sec-websocket-extensions'] ?? '');
  if (offered && !/permessage-deflate/.test(socket.extensions)) socket.close(4998, 'no compression');
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
});
server.on('listening', () => console.log(server.address().port));
