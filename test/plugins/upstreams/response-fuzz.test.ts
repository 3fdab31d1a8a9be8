import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request as nodeRequest } from 'node:http'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import t from 'tap'
import { MalformedResponse } from '../../../plugins/upstreams/client/http1/fields.ts'
import {
  type ParserListener,
  ResponseParser
} from '../../../plugins/upstreams/client/http1/response-parser.ts'
import { gateway } from '../../helpers.ts'
import { generator, mutate, type Random, runsOf, seedOf } from '../../random.ts'
import { routes } from './fleet.ts'

// A differential fuzz of the parser of answers against llhttp, by Node's own client. FUZZ=200000 tries more, FUZZ_SEED=… repeats a run.

const COUNT = runsOf(20_000)
const MAX_HEADERS = 16_384

type Method = 'GET' | 'HEAD' | 'POST'

/** What a parser made of some bytes, behind which the connection ended. */
interface Outcome {
  status: number
  fields: string
  body: string
  trailers: string
  complete: boolean
  /** Why the bytes were refused; undefined where they were not. */
  refused: string | undefined
}

const nothing = (): Outcome => ({
  status: 0,
  fields: '',
  body: '',
  trailers: '',
  complete: false,
  refused: undefined
})

/** Reads an answer by Node's own client, whose parser is llhttp. */
async function byNode(method: Method, bytes: Buffer): Promise<Outcome> {
  const outcome = nothing()
  const connection = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  const { promise, resolve } = Promise.withResolvers<void>()
  const request: ClientRequest = nodeRequest({
    method,
    host: 'a',
    createConnection: () => connection as Socket
  })
  request.on('error', (error: Error & { code?: string }) => {
    if (outcome.status === 0) outcome.refused = error.code ?? error.message
    resolve()
  })
  request.on('upgrade', (response: IncomingMessage) => {
    outcome.status = response.statusCode ?? 0
    outcome.refused = 'a switch of protocols'
    resolve()
  })
  request.on('response', (response: IncomingMessage) => {
    outcome.status = response.statusCode ?? 0
    outcome.fields = fieldsOf(response.rawHeaders)
    response.setEncoding('latin1')
    response.on('data', (data: string) => {
      outcome.body += data
    })
    response.on('error', () => {})
    response.on('close', () => {
      outcome.complete = response.complete
      outcome.trailers = fieldsOf(response.rawTrailers)
      resolve()
    })
  })
  request.end()
  connection.push(bytes)
  connection.push(null)
  await promise
  connection.destroy()
  return outcome
}

const fieldsOf = (raw: readonly string[]): string =>
  raw.map((text, i) => (i % 2 === 0 ? `${text.toLowerCase()}: ` : `${text}\n`)).join('')

/** Reads an answer by the parser of the gateway, in pieces that end at the given places. */
function byGateway(method: Method, bytes: Buffer, splits: readonly number[]): Outcome {
  const outcome = nothing()
  const taker: ParserListener = {
    onInformation() {},
    onHeaders(status, fields, _reason, bare) {
      outcome.status = status
      outcome.fields = fieldsOf(fields)
      if (bare) outcome.complete = true
    },
    onCompleteResponse(status, fields, _reason, body) {
      outcome.status = status
      outcome.fields = fieldsOf(fields)
      outcome.body = body
      outcome.complete = true
    },
    onData(part) {
      outcome.body += part.toString('latin1')
    },
    onComplete(trailers) {
      outcome.trailers = fieldsOf(trailers)
      outcome.complete = true
    },
    onUpgrade() {}
  }
  const parser = new ResponseParser(taker, MAX_HEADERS)
  parser.expect(method, false)
  try {
    let from = 0
    for (const to of [...splits, bytes.length]) {
      if (outcome.complete) break
      if (to > from) parser.read(bytes.subarray(from, to), to - from)
      from = to
    }
    if (!outcome.complete) parser.onSocketEnd()
  } catch (error) {
    outcome.refused = (error as Error).message
    if (
      !(error instanceof MalformedResponse) &&
      (error as { code?: string }).code !== 'UND_ERR_HEADERS_OVERFLOW'
    )
      throw error
  }
  return outcome
}

// Where this parser is stricter than llhttp on purpose: each of these has two readings somewhere.
const STRICTER = new Set([
  // llhttp also reads other protocols' versions ("HTTP/0.9", "RTSP/1.0"), and statuses below 100.
  'Invalid status line',
  'Invalid status code: below 100',
  'Unexpected 101 Switching Protocols',
  // Two lengths of one value, a list of them, and a transfer coding that is not "chunked" alone.
  'Invalid Content-Length',
  'Invalid Transfer-Encoding: not just chunked',
  // Folded lines, whose meaning RFC 9112 section 5.2 took away, and bytes in a value that RFC 9110 has none of.
  'Invalid header name',
  'Invalid header: no name',
  'Invalid header value: control character',
  'Invalid reason phrase: control character',
  'Bare line feed',
  'Invalid chunk size: too large',
  // ";=a", which llhttp takes for an extension.
  'Invalid chunk extension: no name'
])

// RFC 9110 section 5.6.3 counts a tab as whitespace. llhttp does not do so behind "chunked", and reads until the connection closes.
const TAB_AFTER_CHUNKED = /^transfer-encoding:[\t ]*chunked[\t ]*\t[\t ]*\r$/im

/** Tells what a difference means; undefined where there is none that matters. */
function faultOf(node: Outcome, ours: Outcome, text: string): string | undefined {
  if (TAB_AFTER_CHUNKED.test(text)) return undefined
  if (ours.refused !== undefined && !ours.complete) {
    if (node.refused !== undefined || !node.complete || STRICTER.has(ours.refused)) return undefined
    return `refused "${ours.refused}", which llhttp takes`
  }
  if (!ours.complete) return node.complete ? 'incomplete, which is complete for llhttp' : undefined
  if (node.complete) {
    for (const key of ['status', 'body', 'trailers'] as const)
      if (node[key] !== ours[key]) return `another ${key}`
    return sameFields(node.fields, ours.fields) ? undefined : 'other fields'
  }
  // Blanks before a colon are removed here, and an error for llhttp.
  if (node.refused === 'HPE_INVALID_HEADER_TOKEN') return undefined
  return `complete, which llhttp refuses: ${node.refused ?? 'incomplete'}`
}

// The length goes on as a plain number.
const sameFields = (node: string, ours: string): boolean =>
  node === ours || node.replaceAll(/^(content-length: )0+(?=\d)/gm, '$1') === ours

const NAMES = [
  'X-A',
  'x-a',
  'Date',
  'Set-Cookie',
  'Keep-Alive',
  'Vary',
  'constructor',
  '__proto__',
  'Trailer'
]
const VALUES = ['a', '', 'a b', '"q"', '\xe9', 'timeout=5', 'close', 'a,b', ' x ', '0']
const SPECIAL = [
  '\r',
  '\n',
  '\r\n',
  ' ',
  '\t',
  ':',
  ';',
  ',',
  '"',
  '\\',
  '\0',
  '0',
  '1',
  'f',
  '\x7f',
  '\xff',
  '-',
  '+'
]

/** Makes the bytes of an answer: mostly a right one, some with mutations. */
function answer(random: Random): string {
  const { pick, chance, below } = random
  let text = ''
  while (chance(0.08))
    text += `HTTP/1.1 ${pick(['100 Continue', '103 Early Hints', '102 P'])}\r\nLink: <a>\r\n\r\n`
  const version = chance(0.1) ? 'HTTP/1.0' : 'HTTP/1.1'
  text += `${version} ${pick(['200 OK', '200 OK', '204 No Content', '304 Not Modified', '404 Not Found', '500 ', '200', '999 X', '205 R'])}\r\n`
  const fields = Array.from(
    { length: below(4) },
    () => `${pick(NAMES)}:${pick(['', ' ', '\t '])}${pick(VALUES)}`
  )
  if (chance(0.2)) fields.push(`Connection: ${pick(['close', 'keep-alive', 'Keep-Alive, x', 'upgrade'])}`)
  const body = 'abcdefghijklmnopqrstuvwxyz'.slice(0, below(26))
  const framing = below(10)
  let rest = body
  if (framing < 4) {
    const length = chance(0.9) ? body.length : below(40)
    fields.splice(
      below(fields.length + 1),
      0,
      `${pick(['Content-Length', 'content-length'])}: ${pick(['', '', '', '0', '00'])}${length}`
    )
    if (chance(0.05)) fields.push(`Content-Length: ${body.length}`)
  } else if (framing < 8) {
    fields.splice(
      below(fields.length + 1),
      0,
      `Transfer-Encoding: ${pick(['chunked', 'chunked', 'chunked', 'Chunked', 'gzip, chunked', 'identity'])}`
    )
    rest = chunks(random, body)
    if (chance(0.05)) fields.push('Content-Length: 3')
  }
  text += `${fields.join('\r\n')}${fields.length > 0 ? '\r\n' : ''}\r\n${rest}`
  if (chance(0.15)) text += pick(['HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL', '\r\n', 'x', '\0'])
  for (let left = chance(0.6) ? 0 : 1 + below(3); left > 0; left--) text = mutate(random, text, SPECIAL)
  return text
}

function chunks({ pick, chance, below }: Random, body: string): string {
  let text = ''
  for (let at = 0; at < body.length; ) {
    const size = 1 + below(body.length - at)
    const digits = pick([size.toString(16), size.toString(16).toUpperCase(), `0${size.toString(16)}`])
    const extension = chance(0.3)
      ? pick([';a', ';a=b', ';a="b c"', ';a="\\""', ';', ' ', ';a="', '; a', ';a;b=c', ';a=', ';\t'])
      : ''
    text += `${digits}${extension}\r\n${body.slice(at, at + size)}\r\n`
    at += size
  }
  return `${text}0${chance(0.1) ? pick([';a', ' ', ';']) : ''}\r\n${chance(0.2) ? 'X-Sum: 1\r\n' : ''}\r\n`
}

t.test('parses a response as llhttp does, or rejects it, however it is split', async (t) => {
  const seed = seedOf()
  const random = generator(seed)
  const faults: string[] = []
  let complete = 0
  let refused = 0
  for (let i = 0; i < COUNT && faults.length < 5; i++) {
    const method = random.pick<Method>(['GET', 'GET', 'GET', 'HEAD', 'POST'])
    const bytes = Buffer.from(answer(random), 'latin1')
    const node = await byNode(method, bytes)
    const ours = byGateway(method, bytes, [])
    if (ours.complete) complete++
    if (ours.refused !== undefined) refused++
    const fault = faultOf(node, ours, bytes.toString('latin1'))
    if (fault !== undefined) faults.push(`${method} ${JSON.stringify(bytes.toString('latin1'))}: ${fault}`)
    const everyByte = Array.from({ length: bytes.length }, (_, at) => at)
    // Each place of some answers, and a few places of all.
    const places = i % 4 === 0 ? everyByte : Array.from({ length: 8 }, () => random.below(bytes.length + 1))
    for (const splits of [everyByte, ...places.map((at) => [at])]) {
      const split = byGateway(method, bytes, splits)
      if (differ(ours, split))
        faults.push(`${method} ${JSON.stringify(bytes.toString('latin1'))} split at ${splits.join()}`)
    }
  }
  t.strictSame(faults, [], `repeat this run by FUZZ_SEED=${seed}`)
  t.ok(
    complete > COUNT / 4 && refused > COUNT / 20,
    `${complete} of ${COUNT} were complete, ${refused} refused`
  )
})

// What is behind a complete answer shows only in a read that has it.
const differ = (whole: Outcome, split: Outcome): boolean =>
  whole.complete !== split.complete ||
  whole.status !== split.status ||
  (whole.complete &&
    (whole.body !== split.body || whole.fields !== split.fields || whole.trailers !== split.trailers))

t.test('never passes bytes of a response to the next client of its connection', async (t) => {
  const seed = seedOf()
  const random = generator(seed)
  let bytes = ''
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    socket.on('data', (data) => {
      const second = data.toString('latin1').startsWith('GET /second')
      socket.write(second ? 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond' : bytes, 'latin1')
      // An answer without a length, or half of one, ends with its connection.
      if (!second) setImmediate(() => socket.end())
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const app = await gateway(t, { upstreams: { up: { url, connections: { max: 1 } } }, routes })
  const others: string[] = []
  for (let i = 0; i < COUNT / 50; i++) {
    bytes = answer(random)
    const [, second] = await Promise.all([app.inject('/first').catch(() => {}), app.inject('/second')])
    // The end of the connection may meet the second request, which is then sent again, or is 502.
    if (second.statusCode === 200 && second.body !== 'second') others.push(JSON.stringify(bytes))
    else if (second.statusCode !== 200 && second.statusCode !== 502)
      others.push(`${second.statusCode} ${bytes}`)
  }
  t.strictSame(others, [], `repeat this run by FUZZ_SEED=${seed}`)
})
