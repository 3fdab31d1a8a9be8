import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import { type Logger, pino } from 'pino'
import type { Test } from 'tap'
import {
  buildGateway,
  type GatewayConfig,
  type GatewayOptions,
  Keep,
  loadConfig,
  type Served,
  serve
} from '../src/index.ts'
import type { Peers } from '../src/lib/contracts/peers.ts'
import { moveClock } from '../src/testing/clock.ts'
import { firstOf, openLog } from '../src/testing/log.ts'
import { connectPeers } from '../src/testing/peers.ts'
import { PatientTimer } from './patience.ts'

/** A test, or whatever tears things down at its end. */
export type Scope = Pick<Test, 'teardown'>

/** What of a gateway a test may set by hand. */
export interface Setup extends GatewayOptions {
  keep?: Keep
  log?: Logger
  env?: Record<string, string | undefined>
}

/** Builds the gateway of a config as production does; it closes with the test. A config may be a file, or an object without its types where a test is about wrong ones. */
export async function gateway(
  t: Scope,
  config: GatewayConfig | object | string,
  setup: Setup = {}
): Promise<FastifyInstance> {
  const { keep = new Keep(), log, env = { SESSION_SECRET: SECRET }, ...options } = setup
  const app = await buildGateway(await loadConfig(config, env), keep, log, options)
  t.teardown(() => app.close())
  return app
}

/** Returns the path of a Unix socket, which has to be shorter than paths in the folder of a test may be. */
export function socketPath(t: Scope): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return join(folder, 'up.sock')
}

/** A session secret that is long enough. */
export const SECRET = 'a secret of the tests, 32 characters and more'

/** A gateway with a real socket: its origin, and the instance behind it. */
export interface Listening {
  readonly app: FastifyInstance
  readonly served: Served
  readonly port: number
  readonly url: string
}

/** Builds the gateway of a config and lets it listen on a free port. */
export async function listening(
  t: Scope,
  config: GatewayConfig | object | string,
  setup: Setup & { port?: number; drainDelay?: number; drainTimeout?: number } = {}
): Promise<Listening> {
  const {
    port = 0,
    drainDelay = 0,
    drainTimeout = 5000,
    keep = new Keep(),
    env = { SESSION_SECRET: SECRET },
    log = pino({ level: 'silent' }),
    ...options
  } = setup
  const app = await buildGateway(await loadConfig(config, env), keep, log, options)
  const served = await serve(app, { host: '127.0.0.1', port, log, drainDelay, drainTimeout })
  t.teardown(() => served.close())
  return { app, served, port: served.address.port, url: `http://127.0.0.1:${served.address.port}` }
}

/** Starts a real upstream on a free port and tells its origin; it closes with the test. */
export async function upstream(t: Scope, listener: RequestListener = echo): Promise<string> {
  return originOf(t, createServer(listener))
}

/** Lets a server listen on a free port and returns its origin; it closes with the test. */
export async function originOf(t: Scope, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Starts an upstream that closes the connection of every request. */
export const brokenUpstream = (t: Scope): Promise<string> =>
  upstream(t, (request) => void request.socket.destroy())

/** What the echo upstream saw of a request. */
export interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: Record<string, string>
  readonly rawHeaders: readonly string[]
  readonly body: string
}

/** Answers with what it saw. */
export const echo: RequestListener = (request, response) => {
  void bodyOf(request).then((body) => {
    const { method, url, headers, rawHeaders } = request
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ method, url, headers, rawHeaders, body: body.toString('latin1') }))
  })
}

/** Reads a body whole. */
export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** Sends bytes as they are to a port of this machine and reads until the other side closes, or says nothing for `idle` milliseconds: `inject` and every client library would mend them on the way. */
export function raw(port: number, bytes: string | readonly string[], idle = 300): Promise<string> {
  return new Promise((resolve, reject) => {
    let seen = ''
    const socket = connect(port, '127.0.0.1', () => {
      for (const part of [bytes].flat()) socket.write(Buffer.from(part, 'latin1'))
    })
    // A busy machine may take its time to begin; once it has begun, silence is the end.
    const silence = new PatientTimer(() => socket.destroy())
    silence.start(Math.max(idle, 10_000))
    socket.on('data', (data) => {
      silence.start(idle)
      seen += data.toString('latin1')
    })
    socket.on('error', (error) => (seen === '' ? reject(error) : resolve(seen)))
    socket.on('close', () => {
      silence.stop()
      resolve(seen)
    })
  })
}

/** Waits for the end of a connection, be it by a reset. */
export const closed = (socket: Socket): Promise<void> =>
  socket.closed ? Promise.resolve() : new Promise((resolve) => socket.once('close', () => resolve()))

/** Reads the status of a raw answer. */
export const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0)

/** A log that a test can read, and the logger that writes it. */
export type ReadableLog = ReturnType<typeof openLog>

/** Opens a log that a test can read. */
export const readableLog: (level?: string) => ReadableLog = openLog

/** Waits for the access log line of an injected response. */
export const accessLogLine = (
  { line }: ReadableLog,
  { headers }: LightMyRequestResponse
): Promise<Record<string, unknown>> =>
  line(({ requestId, status }) => requestId === headers['x-request-id'] && status !== undefined)

/** How a run of the command line ended. */
export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs the command line as a user does, to its end. */
export async function sallyport(
  args: readonly string[],
  {
    cwd = process.cwd(),
    env = {},
    input = ''
  }: { cwd?: string; env?: Record<string, string>; input?: string } = {}
): Promise<Ended> {
  const child = spawn(process.execPath, [BIN, ...args], { cwd, env: { ...clean, ...env } })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (data: Buffer) => {
    stdout += data.toString()
  })
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString()
  })
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}

/** The command line's entry. */
export const BIN: string = fileURLToPath(new URL('../bin/sallyport.js', import.meta.url))

const { SESSION_SECRET: _secret, GATEWAY_CONFIG: _config, PORT: _port, ...own } = process.env

/** What a process of the command line is started with, beside what a test says; where it compiled something, no other one has to. */
export const clean: NodeJS.ProcessEnv = {
  ...own,
  NODE_COMPILE_CACHE: fileURLToPath(new URL('../.tap/compile-cache', import.meta.url))
}

/** A gateway in a process of its own. */
export interface Running {
  readonly port: number
  readonly url: string
  readonly pid: number
  /** The lines of its log so far. */
  readonly lines: Record<string, unknown>[]
  /** Waits for a line of the log. */
  line(test: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>
  signal(name: NodeJS.Signals): void
  /** Waits for the end of the process and tells its exit code. */
  ended: Promise<number | null>
}

/** Runs the gateway of a config file, or of another command than "run", in a process of its own, as a user does, on a free port; it ends with the test. It may be given few descriptors. */
export async function running(
  t: Scope,
  args: readonly string[],
  {
    cwd = process.cwd(),
    env = {},
    descriptors,
    name = 'run'
  }: { cwd?: string; env?: Record<string, string>; descriptors?: number; name?: string } = {}
): Promise<Running> {
  const command = [process.execPath, BIN, name, ...args]
  const [program = '', ...words] =
    descriptors === undefined
      ? command
      : ['sh', '-c', `ulimit -n ${descriptors} && exec "$0" "$@"`, ...command]
  const child = spawn(program, words, {
    cwd,
    env: { ...clean, PORT: '0', ADMIN_PORT: '', SESSION_SECRET: SECRET, ...env }
  })
  const lines: Record<string, unknown>[] = []
  const waiting = new Set<() => void>()
  let rest = ''
  let stderr = ''
  child.stdout.on('data', (data: Buffer) => {
    const parts = (rest + data.toString()).split('\n')
    rest = parts.pop() ?? ''
    for (const part of parts)
      if (part.startsWith('{')) lines.push(JSON.parse(part) as Record<string, unknown>)
    for (const look of waiting) look()
  })
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString()
  })
  const ended = once(child, 'close').then(([code]) => code as number | null)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const line = (test: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> =>
    Promise.race([
      firstOf(lines, waiting, test),
      ended.then((code) => {
        throw new Error(`the gateway ended with ${code}: ${stderr}`)
      })
    ])
  const { port } = (await line((each) => each['port'] !== undefined)) as { port: number }
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    lines,
    line,
    signal: (name) => void child.kill(name),
    ended
  }
}

/** Why a test that wants a certificate is skipped; false where it is not. */
export const noOpenssl: string | false =
  spawnSync('openssl', ['version']).status === 0
    ? false
    : 'openssl makes the certificate of this test, and is not on this machine'

/** Tells why a test is skipped if one of these programs is missing, or false. */
export function missing(...programs: string[]): string | false {
  const absent = programs.filter((name) => spawnSync(name, ['--help']).error !== undefined)
  return absent.length > 0 && `needs ${absent.join(' and ')}, which .ci/run installs`
}

/** Makes a certificate for "localhost", and the file that it can be trusted by. */
export function certificate(t: Pick<Test, 'testdir'>): { key: Buffer; cert: Buffer; ca: string } {
  const folder = t.testdir()
  const make =
    'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout up.key -out up.pem -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost'
  execFileSync('openssl', make.split(' '), { cwd: folder, stdio: 'ignore' })
  const file = (name: string): string => join(folder, name)
  return { key: readFileSync(file('up.key')), cert: readFileSync(file('up.pem')), ca: file('up.pem') }
}

/** Sends one request to a URL by Node's own client, headers as given, and reads the answer whole. */
export async function ask(
  url: string,
  init: RequestInit = {}
): Promise<{ status: number; headers: Headers; text: string }> {
  const response = await fetch(url, { redirect: 'manual', ...init })
  return { status: response.status, headers: response.headers, text: await response.text() }
}

/** Moves the clock of this process, both the date and what counts: what lasts for minutes, no test can wait for. */
export function clock(t: Scope): (seconds: number) => void {
  const { advance } = movableClock(t)
  return (seconds) => advance(seconds * 1000)
}

/** Makes what so many workers of one process tell each other by. */
export const workersTogether: (count: number) => Peers[] = connectPeers

/** A clock that a test moves. */
export interface MovableClock {
  /** Lets milliseconds pass; timers that come due meanwhile run at once, in their order. */
  advance(ms: number): void
  /** Sets the date alone, by so many milliseconds; negative ones set it back. */
  setDate(ms: number): void
}

/** Replaces the clock of this process by one that the test moves; it goes on by itself unless it begins at a time. */
export function movableClock(t: Scope, beginsAt?: number): MovableClock {
  const { due, setDate } = moveClock(t, beginsAt)
  return {
    advance: (ms) => {
      for (const timer of due(ms)) timer.fire()
    },
    setDate
  }
}
