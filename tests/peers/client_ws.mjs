// The Node library `ws` as a client. Reads the addresses and credentials that run.py writes to standard
// input, prints `ok NAME` or `FAILED NAME: why` for each check. First argument: the folder of node_modules.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const WebSocket = createRequire(path.resolve(process.argv[2], 'package.json'))('ws');

const given = JSON.parse(readFileSync(0, 'utf8'));
const deadline = () => ({ signal: AbortSignal.timeout(10_000) });

const options = (fields) => ({ ca: readFileSync(given.authority), headers: fields });

async function opened(credential = 'bearer') {
  const socket = new WebSocket(given.url, options({ Authorization: given[credential] }));
  await once(socket, 'open', deadline());
  return socket;
}

async function echoed(socket, ...parts) {
  const answer = once(socket, 'message', deadline());
  parts.forEach((part, index) => socket.send(part, { fin: index === parts.length - 1 }));
  const [data, isBinary] = await answer;
  return isBinary ? data : data.toString();
}

async function closed(socket, code, reason) {
  const end = once(socket, 'close', deadline());
  socket.close(code, reason);
  const [code_, reason_] = await end;
  return [code_, reason_.toString()];
}

// The one whose token has seconds to live comes first.
const checks = {
  async '3000 at the end of the token\'s life, not before'() {
    const socket = await opened('brief');
    const [code, reason] = await once(socket, 'close', deadline());
    const late = Date.now() / 1000 - given.brief_until;
    assert.deepEqual([code, reason.toString()], [3000, 'token expired']);
    assert.ok(late >= 0 && late < 1.5, `${late} s late`);
  },
  async '401 with both challenges without a credential'() {
    const socket = new WebSocket(given.url, options({}));
    // `rawHeaders`, because Node joins repeated fields into one line.
    const [request, response] = await once(socket, 'unexpected-response', deadline());
    const challenges = response.rawHeaders.filter((_, index, all) => /^www-authenticate$/i.test(all[index - 1]));
    request.destroy();
    assert.equal(response.statusCode, 401);
    assert.deepEqual(challenges.map((line) => line.split(' ')[0]), ['Bearer', 'Basic']);
  },
  async 'text comes back, with a token and with a password'() {
    for (const credential of ['bearer', 'basic']) {
      const socket = await opened(credential);
      for (const message of ['', 'hello', 'Grüße, 世界 🔒']) assert.equal(await echoed(socket, message), message);
      await closed(socket, 1000);
    }
  },
  async 'binary comes back'() {
    const socket = await opened();
    for (const length of [0, 125, 126, 65_535, 65_536]) {
      assert.deepEqual(await echoed(socket, Buffer.alloc(length, 7)), Buffer.alloc(length, 7));
    }
    await closed(socket, 1000);
  },
  async '4 MiB come back'() {
    const socket = await opened();
    const message = Buffer.alloc(4 << 20, 'countersign.');
    assert.ok(message.equals(await echoed(socket, message)));
    await closed(socket, 1000);
  },
  async 'fragments come back as one message'() {
    const socket = await opened();
    assert.equal(await echoed(socket, 'one, ', 'two, ', 'three'), 'one, two, three');
    await closed(socket, 1000);
  },
  async 'a ping is answered'() {
    const socket = await opened();
    const pong = once(socket, 'pong', deadline());
    socket.ping('are you there');
    assert.equal((await pong)[0].toString(), 'are you there');
    await closed(socket, 1000);
  },
  async 'a close code comes back'() {
    assert.deepEqual(await closed(await opened(), 4001, 'that was all'), [4001, 'that was all']);
  },
};

for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok ws: ${name}`);
  } catch (error) {
    console.log(`FAILED ws: ${name}: ${String(error.message ?? error).replace(/\s+/g, ' ')}`);
  }
}
// A socket of a failed check must not keep the process.
process.exit(0);
