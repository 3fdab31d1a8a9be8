import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import { createServer as createSecure, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type PeerCertificate } from 'node:tls'
import type { Test } from 'tap'
import { timings } from '../plugins/tls/acme/timings.ts'
import { Keep } from '../src/index.ts'
import { authority } from './certificates.ts'
import { bodyOf, type Listening, listening, type ReadableLog, readableLog } from './helpers.ts'
import type { Pebble } from './pebble.ts'

/** How a gateway of these tests differs from the next. */
export interface Said {
  readonly acme?: object
  readonly tls?: object
  readonly more?: object
  readonly port?: number
  readonly keep?: Keep
}

export interface Stage extends Listening, ReadableLog {
  readonly folder: string
  /** Where the things of its authority are. */
  file(name: string): string
}

/** Where an authority is, and where it looks for answers. */
export type Place = Pick<Pebble, 'directory' | 'ca' | 'httpPort'>

export const routes = [{ path: '/*', respond: { body: 'in' } }]

/** What is said of an authority by all. */
export const at = ({ directory, ca }: Place): object => ({
  directory,
  ca,
  agreeToTerms: true,
  domains: ['one.example']
})

/** Makes a folder, which goes with the test; one test may have several. */
export function emptyFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-acme-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Lets a gateway listen where the authority looks for it; minutes pass in moments. */
export async function stage(
  t: Test,
  server: Place,
  { acme = {}, tls = { redirectFrom: server.httpPort }, more = {}, port = 0, keep = new Keep() }: Said = {}
): Promise<Stage> {
  quickly(t)
  const folder = emptyFolder(t)
  const log = readableLog()
  const config = { tls: { acme: { ...at(server), storage: folder, ...acme }, ...tls }, routes, ...more }
  const gateway = await listening(t, config, { log: log.log, port, keep })
  const place = placeOf(server)
  return { ...gateway, ...log, folder, file: (name) => join(folder, place, name) }
}

/** Names the place of an authority in a storage. */
export const placeOf = ({ directory }: Place): string =>
  directory.slice('https://'.length).replaceAll(/[^\w.-]+/g, '-')

// A clock that a test moves on by an hour must not make a lock look left behind.
function quickly(t: Test): void {
  for (const [name, value] of Object.entries({
    pollInterval: 50,
    firstPollInterval: 50,
    firstRetryDelay: 100,
    orderPollInterval: 50,
    lockLifetime: 86_400_000
  }))
    t.intercept(timings, name as 'pollInterval', { value })
}

export const issued = ({ msg }: Record<string, unknown>): boolean => msg === 'certificate issued'
export const renewed = ({ msg }: Record<string, unknown>): boolean => msg === 'certificate renewed'
export const takenUp = ({ msg }: Record<string, unknown>): boolean => msg === 'certificate loaded'
export const failed = ({ msg }: Record<string, unknown>): boolean =>
  /^certificate (issuance|renewal) failed/.test(String(msg))

/** Shakes hands, and tells the certificate that is shown, or the code of what went wrong. */
export function shown(port: number, options: object = {}): Promise<PeerCertificate | string> {
  return new Promise((resolve) => {
    const socket = connect(
      { host: '127.0.0.1', port, servername: 'one.example', rejectUnauthorized: false, ...options },
      () => {
        resolve(socket.getPeerCertificate())
        socket.destroy()
      }
    )
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
  })
}

/** Starts what answers in the place of an authority. */
export async function standIn(t: Test, listener: RequestListener): Promise<Place> {
  const ca = authority(t)
  const own = ca.issue('/CN=stand-in', 'DNS:localhost')
  const server = createSecure({ cert: own.cert, key: own.key }, listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { directory: `https://localhost:${port}/dir`, ca: ca.certFile, httpPort: 0 }
}

/** What an authority says and hears of renewals and profiles, which the real one here knows nothing of. */
export interface Renewals extends Place {
  /** The status and answer to the next questions when to renew. */
  answer: { status: number; window?: { start: Date; end: Date }; headers?: Record<string, string> }
  /** The identifiers of certificates that were asked about. */
  readonly asked: string[]
  /** The orders that came, as they were signed. */
  readonly orders: Record<string, unknown>[]
  /** Refuses the next order by this kind of problem. */
  refuse: string | undefined
}

/** Stands in front of an authority: passes all on, and adds renewal information (RFC 9773) and profiles. */
export async function withRenewals(t: Test, server: Pebble): Promise<Renewals> {
  const { port } = new URL(server.directory)
  const trusted = readFileSync(server.ca)
  const said: Pick<Renewals, 'answer' | 'asked' | 'orders' | 'refuse'> = {
    answer: { status: 404 },
    asked: [],
    orders: [],
    refuse: undefined
  }
  const place = await standIn(t, (question, response) => {
    const { url = '', method, headers } = question
    if (url.startsWith('/renewal-info/')) {
      said.asked.push(url.slice('/renewal-info/'.length))
      const { status, window, headers: more = {} } = said.answer
      response.writeHead(status, { 'content-type': 'application/json', ...more })
      response.end(JSON.stringify({ suggestedWindow: window, explanationURL: 'https://ca.example/why' }))
      return
    }
    void bodyOf(question).then((body) => {
      if (url === '/order-plz') {
        const { payload } = JSON.parse(body.toString()) as { payload: string }
        said.orders.push(JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>)
        const { refuse } = said
        said.refuse = undefined
        if (refuse !== undefined) {
          response.writeHead(409, { 'content-type': 'application/problem+json' })
          response.end(JSON.stringify({ type: `urn:ietf:params:acme:error:${refuse}`, detail: 'no' }))
          return
        }
      }
      const onward = request({
        host: '127.0.0.1',
        port,
        path: url,
        method,
        headers,
        ca: trusted,
        agent: false
      })
      onward.on('response', (answer) => {
        void bodyOf(answer).then((whole) => {
          const found = url === '/dir' ? withMore(whole.toString(), headers.host ?? '') : whole
          const { 'content-length': _length, ...rest } = answer.headers
          response.writeHead(answer.statusCode ?? 502, rest).end(found)
        })
      })
      onward.on('error', () => response.destroy())
      onward.end(body)
    })
  })
  return Object.assign(said, place, { httpPort: server.httpPort })
}

function withMore(directory: string, host: string): string {
  const { meta, ...rest } = JSON.parse(directory) as { meta: object }
  const profiles = { classic: 'https://ca.example/classic', shortlived: 'https://ca.example/shortlived' }
  const renewalInfo = `https://${host}/renewal-info`
  return JSON.stringify({ ...rest, renewalInfo, meta: { ...meta, profiles } })
}

export const serialOf = (certificate: PeerCertificate | string): string =>
  typeof certificate === 'string' ? certificate : certificate.serialNumber

/** Asks over TLS on a connection of its own, which is verified. */
export function secure(port: number, ca: string, path = '/'): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path, ca, servername: 'one.example', agent: false }, (response) => {
      bodyOf(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, text: body.toString() }),
        reject
      )
    })
      .on('error', reject)
      .end()
  })
}
