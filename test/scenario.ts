// Runs the requests of a folder with a config: gateway.json, and requests.json beside it (see examples/jobs/README.md).
import { createHash, randomUUID } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, request as overHttp } from 'node:http'
import { request as overHttps } from 'node:https'
import { join } from 'node:path'
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { Test } from 'tap'
import { monotonic, replaceClock, wall } from '../src/lib/clock.ts'
import { bodyOf, type Listening, listening, originOf, type Scope, SECRET } from './helpers.ts'
import { provider, Visitor } from './provider.ts'

/** What requests.json says. */
interface Scenario {
  /** Variables of the config. */
  readonly env?: Readonly<Record<string, string>>
  /** The services: each variable gets the URL of a real one, which answers by this list, else with what it saw. */
  readonly upstreams: Readonly<Record<string, readonly Answer[]>>
  /** Variables that get the URL of a JSON Web Key Set, with the algorithm of its key. */
  readonly keySets?: Readonly<Record<string, string>>
  /** Tokens that requests use as `${NAME}`, signed by a key set or a shared secret: the name of its variable. */
  readonly tokens?: Readonly<
    Record<string, { readonly by: string; readonly claims: Record<string, unknown> }>
  >
  /** The variable that gets the issuer of a real OpenID Connect provider. */
  readonly provider?: string
  /** Cookies that requests use as `${NAME}`, of people who have logged in at the provider. */
  readonly sessions?: Readonly<Record<string, string>>
  readonly requests: readonly Step[]
}

interface Answer {
  readonly when?: { readonly path?: string; readonly headers?: Readonly<Record<string, string>> }
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

/** Parts of header fields; null for one that is absent, true for one with any value. */
type Fields = Readonly<Record<string, string | boolean | null>>

interface Step {
  /** What the request shows; by default its method and URL. */
  readonly name?: string
  readonly request: {
    readonly method?: string
    readonly url: string
    readonly headers?: Readonly<Record<string, string>>
    readonly body?: unknown
    /** A body of so many bytes. */
    readonly size?: number
    readonly websocket?: boolean
  }
  /** How often it is sent; the last response is compared. */
  readonly times?: number
  /** Keeps the first cookie of the response as `${NAME}`. */
  readonly save?: string
  readonly expect: {
    readonly status: number
    readonly headers?: Fields
    /** A part of the body: of its text, or of its JSON. */
    readonly body?: unknown
    /** Texts that the body does not have. */
    readonly without?: readonly string[]
    /** The service that got the last request; null if none did. */
    readonly upstream?: string | null
    /** The services that got a number of `times` requests, at least and at most. */
    readonly shares?: Readonly<Record<string, readonly [number, number]>>
    /** What the service saw of the last request. */
    readonly seen?: {
      readonly method?: string
      readonly url?: string
      readonly headers?: Fields
      readonly body?: string
      readonly bytes?: number
    }
    /** A service that gets a copy afterwards. */
    readonly mirror?: string
  }
}

interface SeenByUpstream {
  readonly upstream: string
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly bytes: number
}

/** What the services of a scenario have seen, and an event for each request. */
class Records extends EventEmitter {
  all: SeenByUpstream[] = []

  add(record: SeenByUpstream): void {
    this.all.push(record)
    this.emit('request')
  }

  /** Waits until a service has got a request. */
  async of(upstream: string): Promise<void> {
    while (!this.all.some((each) => each.upstream === upstream)) await once(this, 'request')
  }
}

/** A gateway of a folder, with its services. */
export interface Staged extends Listening {
  readonly env: Readonly<Record<string, string>>
  readonly scenario: Scenario
  readonly records: Records
}

/** Starts the services of a folder, and its gateway before them, with further variables. */
export async function stage(
  t: Scope,
  folder: string,
  more: Readonly<Record<string, string>> = {}
): Promise<Staged> {
  const scenario = JSON.parse(readFileSync(join(folder, 'requests.json'), 'utf8')) as Scenario
  const records = new Records()
  const env: Record<string, string> = { SESSION_SECRET: SECRET, ...scenario.env, ...more }
  for (const [name, answers] of Object.entries(scenario.upstreams))
    env[name] = await service(t, name, answers, records)
  const keys = new Map<string, { algorithm: string; key: CryptoKey }>()
  for (const [name, algorithm] of Object.entries(scenario.keySets ?? {})) {
    const { publicKey, privateKey } = await generateKeyPair(algorithm)
    const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: algorithm }] }
    const server = createServer((_request, response) => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify(jwks))
    })
    env[name] = `${await originOf(t, server)}/jwks.json`
    keys.set(name, { algorithm, key: privateKey })
  }
  const known = scenario.provider === undefined ? undefined : await provider(t)
  if (known !== undefined) env[scenario.provider ?? ''] = known.issuer
  const gateway = await listening(t, join(folder, 'gateway.json'), { env })
  env['ORIGIN'] = gateway.url
  known?.know(gateway.url)
  for (const [name, person] of Object.entries(scenario.sessions ?? {})) {
    const visitor = new Visitor()
    await visitor.logInAs(person, `${gateway.url}/login?return_to=/`)
    env[name] = visitor.cookiesFor(gateway.url)
  }
  for (const [name, { by, claims }] of Object.entries(scenario.tokens ?? {})) {
    const { algorithm, key } = keys.get(by) ?? { algorithm: 'HS256', key: Buffer.from(env[by] ?? '') }
    env[name] = await new SignJWT({ sub: 'u1', ...claims })
      .setProtectedHeader({ alg: algorithm, kid: 'k1' })
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(key)
  }
  return { ...gateway, env, scenario, records }
}

/** Starts a service that answers by a list, else with what it saw. */
function service(t: Scope, upstream: string, answers: readonly Answer[], records: Records): Promise<string> {
  const server = createServer((request, response) => {
    void bodyOf(request).then((bytes) => {
      const { method = '', url = '', headers } = request
      const body = bytes.length > 65_536 ? '' : bytes.toString()
      const record = { upstream, method, url, headers, body, bytes: bytes.length }
      records.add(record)
      const answer = answers.find(({ when }) => holds(when, record))
      response.writeHead(answer?.status ?? 200, { 'content-type': 'application/json', ...answer?.headers })
      const text = answer === undefined || answer.body === undefined ? record : answer.body
      response.end(typeof text === 'string' ? text : JSON.stringify(text))
    })
  })
  server.on('upgrade', (request, socket) => {
    const { method = '', url = '', headers } = request
    records.add({ upstream, method, url, headers, body: '', bytes: 0 })
    const accept = createHash('sha1')
      .update(`${headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64')
    socket.on('error', () => {})
    socket.end(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
    )
  })
  return originOf(t, server)
}

const holds = (when: Answer['when'], { url, headers }: SeenByUpstream): boolean =>
  (when?.path === undefined || url.split('?', 1)[0] === when.path) &&
  Object.entries(when?.headers ?? {}).every(([name, part]) => String(headers[name] ?? '').includes(part))

/** Sends the requests of a folder to its gateway, one after another, and compares the responses. */
export async function runScenario(t: Test, { app, port, env, scenario, records }: Staged): Promise<void> {
  stopClock(t)
  const values: Record<string, string> = { ...env }
  const fill = (text: string): string => text.replaceAll(/\$\{(\w+)\}/g, (_, name) => values[name] ?? '')
  for (const { name, request, times = 1, save, expect } of scenario.requests)
    await t.test(name ?? `${request.method ?? 'GET'} ${request.url}`, async (t) => {
      records.all = []
      let response = await send(port, request, fill, app.tls !== null)
      for (let i = 1; i < times; i++) response = await send(port, request, fill, app.tls !== null)
      t.equal(response.status, expect.status, response.text)
      t.match(pick(response.headers, expect.headers), expect.headers ?? {}, 'headers')
      const { body } = expect
      if (typeof body === 'string') t.match(response.text, fill(body))
      else if (body !== undefined) t.match(JSON.parse(response.text), body)
      for (const text of expect.without ?? []) t.notMatch(response.text, text)
      if (expect.mirror !== undefined) await records.of(expect.mirror)
      const seen = records.all.filter(({ upstream }) => upstream !== expect.mirror)
      if (expect.upstream !== undefined) t.equal(seen.at(-1)?.upstream ?? null, expect.upstream)
      if (expect.seen !== undefined) {
        const { headers, ...rest } = expect.seen
        t.match(seen.at(-1), JSON.parse(fill(JSON.stringify(rest))))
        const wanted = JSON.parse(fill(JSON.stringify(headers ?? {}))) as Fields
        t.match(pick(seen.at(-1)?.headers ?? {}, wanted), wanted, 'headers that the service saw')
      }
      for (const [upstream, [least, most]] of Object.entries(expect.shares ?? {})) {
        const count = seen.filter((each) => each.upstream === upstream).length
        t.ok(count >= least && count <= most, `${upstream} got ${count}, expected ${least} to ${most}`)
      }
      if (save !== undefined) values[save] = response.headers['set-cookie']?.[0]?.split(';', 1)[0] ?? ''
    })
}

/** Stops the clock of the gateway, so that no window of a rate limit ends meanwhile on a busy machine; timers run on. */
function stopClock(t: Scope): void {
  const [now, date] = [monotonic(), wall()]
  const restore = replaceClock({
    monotonic: () => now,
    wall: () => date,
    setTimeout: (run, ms, arg) => setTimeout(run, ms, arg),
    setInterval: (run, ms, arg) => setInterval(run, ms, arg),
    clear: (timer) => clearTimeout(timer as NodeJS.Timeout)
  })
  t.teardown(restore)
}

const pick = (headers: IncomingHttpHeaders, wanted: Fields = {}): Fields =>
  Object.fromEntries(
    Object.entries(wanted).map(([name, part]) => {
      const value = headers[name]?.toString() ?? null
      return [name, part === true ? value !== null : value]
    })
  )

interface Received {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** Sends a request with any Host, on a connection of its own. */
function send(
  port: number,
  { method = 'GET', url, headers = {}, body, size, websocket }: Step['request'],
  fill: (text: string) => string,
  secure: boolean
): Promise<Received> {
  const filled = Object.entries(headers).map(([name, value]) => [name, fill(value)])
  const upgrade = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': Buffer.from(randomUUID()).subarray(0, 16).toString('base64')
  }
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
  const bytes = size === undefined ? fill(text ?? '') : Buffer.alloc(size, 'x')
  const length =
    text === undefined && size === undefined ? {} : { 'content-length': Buffer.byteLength(bytes) }
  const options = {
    host: '127.0.0.1',
    port,
    method,
    path: fill(url),
    agent: false,
    headers: {
      ...(websocket === true ? upgrade : {}),
      ...(typeof body === 'object' ? { 'content-type': 'application/json' } : {}),
      ...length,
      ...Object.fromEntries(filled)
    }
  }
  return new Promise((resolve, reject) => {
    const sent = secure ? overHttps({ ...options, rejectUnauthorized: false }) : overHttp(options)
    sent.on('response', (response) => {
      bodyOf(response).then((read) => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text: read.toString() })
      }, reject)
    })
    sent.on('upgrade', ({ headers }, socket) => {
      socket.destroy()
      resolve({ status: 101, headers, text: '' })
    })
    sent.on('error', reject)
    sent.end(bytes)
  })
}
