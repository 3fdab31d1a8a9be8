import { once } from 'node:events'
import { createServer as createHttpServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { listening, type Scope } from '../helpers.ts'
import { generator, mutate, type Random, runsOf, seedOf } from '../random.ts'

// A fuzz of requests through the gateway: what the upstream gets is what Node's own parser finds in the client's bytes, or the client gets an error. FUZZ=20000 tries more (with --timeout=0), FUZZ_SEED=… repeats a run.

const COUNT = runsOf(400)

/** How long an exchange may take before it counts as a hang, in milliseconds. */
const HANG = 5000

/** One whole request, as a parser found it. */
interface Found {
  readonly method: string
  readonly url: string
  readonly rawHeaders: readonly string[]
  readonly body: string
}

/** What Node's own parser finds in the bytes of a connection. */
interface Reference {
  readonly requests: Found[]
  readonly end: 'clean' | 'refused' | 'incomplete'
}

/** Reads a request to its end; one that is cut is not found. */
function find(request: IncomingMessage, found: (request: Found) => void): void {
  const { method = '', url = '', rawHeaders } = request
  let body = ''
  request
    .on('error', () => {})
    .on('data', (chunk: Buffer) => {
      body += chunk.toString('latin1')
    })
    .on('end', () => {
      if (request.complete) found({ method, url, rawHeaders, body })
    })
}

/** Reads bytes as the server of Node.js does, behind which the connection ends. */
async function byNode(bytes: Buffer): Promise<Reference> {
  const requests: Found[] = []
  let end: Reference['end'] = 'clean'
  const server = createHttpServer((request, response) => {
    find(request, (each) => {
      requests.push(each)
      response.end()
    })
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  server.on('clientError', (error: Error & { code?: string }, socket) => {
    end = error.code === 'HPE_INVALID_EOF_STATE' ? 'incomplete' : 'refused'
    // What was whole before it is still to be told of.
    setImmediate(() => socket.destroy())
  })
  const connection = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  connection.on('error', () => {}).on('close', resolve)
  server.emit('connection', connection)
  connection.push(bytes)
  for (let i = 0; i < 4; i++) await turn()
  connection.push(null)
  await promise
  return { requests, end }
}

/** A whole request that the upstream got, and whose it is. */
interface Got extends Found {
  readonly from: string
}

interface Upstream {
  readonly url: string
  readonly got: Got[]
  /** What of the gateway's bytes is no request. */
  readonly faults: string[]
}

// RFC 9112 sections 3 and 5, without what a lenient parser would take as well.
const HEAD =
  /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e\x80-\xff]+ HTTP\/1\.1\r\n(?:[!#$%&'*+\-.^_`|~0-9a-z]+: (?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?\r\n)+\r\n/

/** An upstream that reads strictly: each head by a grammar, and all of it by Node's own parser. */
async function strictUpstream(t: Scope): Promise<Upstream> {
  const got: Got[] = []
  const faults: string[] = []
  const parser = createHttpServer((request, response) => {
    find(request, (each) => {
      got.push({ ...each, from: String(request.headers['x-forwarded-for']) })
      response.writeHead(200, { 'x-got': String(got.length - 1), 'content-length': '2' }).end('ok')
    })
  })
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    let bytes = ''
    const inner = new Duplex({
      read() {},
      write: (chunk: Buffer, _encoding, done) => void socket.write(chunk, () => done()),
      final: (done) => void socket.end(done),
      destroy: (error, done) => {
        socket.destroy()
        done(error)
      }
    })
    inner.on('error', () => {})
    socket.on('error', () => {})
    socket.on('close', () => {
      sockets.delete(socket)
      inner.destroy()
    })
    socket.on('end', () => inner.push(null))
    socket.on('data', (data) => {
      // The gateway has one request on a connection at a time: a head begins where an answer has ended.
      if (bytes === '' && !HEAD.test(data.toString('latin1'))) faults.push(data.toString('latin1'))
      bytes += data.toString('latin1')
      inner.push(data)
    })
    parser.emit('connection', inner)
  })
  parser.on('clientError', (error: Error & { code?: string }, socket) => {
    // The gateway may give up a request whose client has gone, in the middle of it.
    if (error.code !== 'HPE_INVALID_EOF_STATE') faults.push(`${error.code}: ${error.message}`)
    socket.destroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, got, faults }
}

/** What a client got. */
interface Received {
  readonly text: string
  readonly hung: boolean
}

const STATUS = /HTTP\/1\.1 ([2-5]\d\d) /g

/** Sends bytes in a few parts and reads until the gateway closes, or has answered all that there is to answer. */
async function ask(
  port: number,
  localAddress: string,
  parts: readonly Buffer[],
  { requests, end }: Reference
): Promise<Received> {
  const socket = connect({ port, host: '127.0.0.1', localAddress, allowHalfOpen: true })
  let text = ''
  let hung = false
  const timer = setTimeout(() => {
    hung = true
    socket.destroy()
  }, HANG)
  const leave = (): void => {
    if (end !== 'refused' && (text.match(STATUS)?.length ?? 0) >= requests.length) socket.destroy()
  }
  socket
    .on('error', () => {})
    .on('end', () => socket.end())
    .on('data', (data) => {
      text += data.toString('latin1')
      leave()
    })
  for (const part of parts) {
    if (socket.writable) socket.write(part)
    await turn()
  }
  if (requests.length === 0) setImmediate(leave)
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve))
  clearTimeout(timer)
  return { text, hung }
}

// No request offers to switch protocols: Node.js drops what it has read behind one.
const METHODS = ['GET', 'GET', 'POST', 'PUT', 'HEAD', 'DELETE', 'OPTIONS', 'PATCH']
const PATHS = [
  '/',
  '/a',
  '/a/b?c=d',
  '/%7Ea',
  '/a%2Fb',
  '/a;b=c',
  '/caf%C3%A9',
  '/?%00',
  '/a*',
  'http://a/x',
  'http://a'
]
const NAMES = [
  'X-A',
  'x-b',
  'Accept',
  'Cookie',
  'X-Empty',
  'TE',
  'Keep-Alive',
  'Upgrade',
  'Trailer',
  'Via',
  '__proto__'
]
const VALUES = ['1', 'a b', 'a, b', '', 'trailers', 'h2c', 'caf\xe9', '"q\\""', 'x-a', 'a\tb', ':', 'chunked']
const SPECIAL = [
  '\r',
  '\n',
  '\r\n',
  ' ',
  '\t',
  ':',
  '\0',
  '\x7f',
  '\xff',
  ';',
  ',',
  '0',
  '"',
  '\r\n\r\n',
  'HTTP/1.1'
]

/** Makes the bytes of a request: mostly a right one. */
function request(random: Random): string {
  const { pick, chance, below } = random
  const body = 'abcdefghijklmnopqrstuvwxyz'.slice(0, below(26))
  const fields = Array.from(
    { length: below(5) },
    () => `${pick(NAMES)}:${pick(['', ' ', '\t '])}${pick(VALUES)}${pick(['', ' '])}`
  )
  fields.push(
    chance(0.97) ? 'Host: a' : pick(['Host: a:80', 'Host:', 'Host: a\r\nHost: b', 'Host : a', 'X: y'])
  )
  if (chance(0.15))
    fields.push(`Connection: ${pick(['close', 'keep-alive', 'x-a', 'Keep-Alive, X-B', 'content-length'])}`)
  if (chance(0.05)) fields.push('Expect: 100-continue')
  const framing = below(10)
  let rest = ''
  if (framing < 4) {
    fields.push(`Content-Length: ${pick(['', '', '', '0', '+'])}${chance(0.9) ? body.length : below(40)}`)
    rest = body
    if (chance(0.05)) fields.push(`Content-Length: ${body.length}`)
  } else if (framing < 8) {
    fields.push(
      `Transfer-Encoding: ${pick(['chunked', 'chunked', 'chunked', 'Chunked', 'gzip, chunked', 'identity'])}`
    )
    rest = chunks(random, body)
    if (chance(0.05)) fields.push('Content-Length: 3')
  }
  // In any order, as long as it is the same for one seed.
  for (let i = fields.length - 1; i > 0; i--) {
    const other = below(i + 1)
    ;[fields[i], fields[other]] = [fields[other] as string, fields[i] as string]
  }
  const version = chance(0.05) ? pick(['HTTP/1.0', 'HTTP/2.0', 'HTTP/1.2', 'RTSP/1.0']) : 'HTTP/1.1'
  return `${pick(METHODS)} ${pick(PATHS)} ${version}\r\n${fields.join('\r\n')}\r\n\r\n${rest}`
}

function chunks({ pick, chance, below }: Random, body: string): string {
  let text = ''
  for (let at = 0; at < body.length; ) {
    const size = 1 + below(body.length - at)
    const digits = pick([size.toString(16), size.toString(16).toUpperCase(), `0${size.toString(16)}`])
    const extension = chance(0.2) ? pick([';a', ';a=b', ';a="b c"', ';', ' ', ';a="', '\t']) : ''
    text += `${digits}${extension}\r\n${body.slice(at, at + size)}\r\n`
    at += size
  }
  return `${text}0\r\n${chance(0.2) ? pick(['X-Sum: 1\r\n', 'Host: evil\r\n', 'Content-Length: 9\r\n']) : ''}\r\n`
}

/** Makes the bytes of a connection: a request or several, some with mutations, and one that ends it. */
function input(random: Random): Buffer {
  let text = request(random)
  while (random.chance(0.2)) text += request(random)
  for (let left = random.chance(0.5) ? 0 : 1 + random.below(3); left > 0; left--)
    text = mutate(random, text, SPECIAL)
  return Buffer.from(`${text}GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`, 'latin1')
}

function split({ below }: Random, bytes: Buffer): Buffer[] {
  const places = Array.from({ length: below(3) }, () => below(bytes.length)).toSorted((a, b) => a - b)
  return [0, ...places].map((from, i) => bytes.subarray(from, places[i] ?? bytes.length))
}

// What stays between the client and the gateway, or is the gateway's own to say.
const DROPPED =
  /^(host|connection|keep-alive|proxy-connection|proxy-auth.*|te|transfer-encoding|upgrade|http2-settings|expect|trailer|proxy|content-length|forwarded|x-real-ip|x-request-id|x-forwarded-.*|.*[^a-z0-9-].*)$/

/** Writes what of a request has to arrive as it was sent. */
function essence({ method, url, rawHeaders, body }: Found): string {
  const fields: [string, string][] = []
  for (let i = 0; i < rawHeaders.length; i += 2)
    fields.push([(rawHeaders[i] ?? '').toLowerCase(), rawHeaders[i + 1] ?? ''])
  const nominated = new Set(
    fields.flatMap(([name, value]) =>
      // A list has commas; what else is between names makes them no names (RFC 9110 section 5.6.1).
      name === 'connection' ? value.toLowerCase().split(/[ \t]*,[ \t]*/) : []
    )
  )
  const kept = fields.filter(([name]) => !DROPPED.test(name) && !nominated.has(name))
  const [, path = '', query = ''] = /^(?:https?:\/\/[^/?#]*)?([^?]*)(.*)$/i.exec(url) ?? []
  const plain = path.replaceAll(/%([0-9a-f]{2})/gi, (encoded, digits: string) => {
    const char = String.fromCharCode(Number.parseInt(digits, 16))
    return /[\w.~-]/.test(char) ? char : encoded
  })
  return JSON.stringify([method, (plain === '' ? '/' : plain) + query, kept, body])
}

/** Tells what is wrong with what a client got, and an upstream of it. */
function faultOf(
  { requests, end }: Reference,
  { text, hung }: Received,
  got: readonly (readonly [at: number, found: Got])[]
): string | undefined {
  if (hung) return 'a hang'
  let next = 0
  for (const [, found] of got) {
    const asked = requests.findIndex((each, i) => i >= next && essence(each) === essence(found))
    if (asked === -1) return `the upstream got ${essence(found)}, which was not asked`
    next = asked + 1
  }
  const answers = [...text.matchAll(/^x-got: (\d+)\r$/gm)].map(([, at]) => Number(at))
  const sent = got.map(([at]) => at)
  // A client that left does not wait for all of them.
  const expected = end === 'incomplete' ? sent.slice(0, answers.length) : sent
  if (answers.join() !== expected.join())
    return `it was sent ${sent.join()}, and got the answers ${answers.join()}`
  const statuses = [...text.matchAll(STATUS)].map(([, status]) => Number(status))
  const closes = (statuses.at(-1) ?? 0) >= 400 || /^connection: close\r$/im.test(text)
  if (end === 'clean' && statuses.length !== requests.length && !closes)
    return `${requests.length} requests, ${statuses.length} answers`
  return undefined
}

t.test('forwards exactly what a client sent or rejects it, for random bytes', async (t) => {
  const seed = seedOf()
  const random = generator(seed)
  const { url, got, faults } = await strictUpstream(t)
  const { port } = await listening(t, {
    accessLog: false,
    upstreams: { up: { url, connections: { max: 1 } } },
    routes: [{ path: '/*', proxy: { upstream: 'up', websocket: false } }]
  })
  let answered = 0
  let refused = 0
  for (let i = 0; i < COUNT && faults.length < 3; i++) {
    const before = got.length
    // Both meet on one connection to the upstream, which knows them by their addresses.
    const clients = await Promise.all(
      ['127.0.0.1', '127.0.0.2'].map(async (address) => {
        const bytes = input(random)
        return { address, bytes, parts: split(random, bytes), reference: await byNode(bytes) }
      })
    )
    const received = await Promise.all(
      clients.map(({ address, parts, reference }) => ask(port, address, parts, reference))
    )
    for (const [j, { address, bytes, reference }] of clients.entries()) {
      const client = received[j] as Received
      const own = [...got.entries()].slice(before).filter(([, { from }]) => from === address)
      const fault = faultOf(reference, client, own)
      answered += own.length
      if (/HTTP\/1\.1 4/.test(client.text)) refused++
      if (fault !== undefined)
        faults.push(`${JSON.stringify(bytes.toString('latin1'))}: ${fault}; ${JSON.stringify(client.text)}`)
    }
  }
  t.strictSame(faults, [], `repeat this run by FUZZ_SEED=${seed}`)
  t.ok(
    answered > COUNT && refused > COUNT / 10,
    `${answered} requests were answered, ${refused} clients refused`
  )
})
