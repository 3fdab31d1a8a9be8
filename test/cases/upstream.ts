import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import net, { type AddressInfo, type Socket } from 'node:net'
import type { Scope } from '../helpers.ts'

/** What an upstream answers instead of its echo: these bytes, to one connection or to all. */
export interface Armed {
  readonly raw: string
  /** Sent some time after the first bytes. */
  readonly then?: string | undefined
  readonly thenMs?: number | undefined
  readonly delayMs?: number | undefined
  readonly close: boolean
  readonly reset: boolean
  readonly sticky: boolean
}

/** An upstream that records every byte it gets. */
export interface Recording {
  readonly port: number
  /** All that came, in latin1. */
  seen: string
  requests: number
  armed: Armed | undefined
  /** Forgets what came, and drops the connections that were answered with armed bytes. */
  reset(): void
}

/** Starts an upstream that echoes as JSON, accepts what strict parsers refuse, and responds with malicious bytes if the path asks for it. */
export async function recording(t: Scope): Promise<Recording> {
  const inner = echoing(() => upstream.requests++)
  inner.listen(0, '127.0.0.1')
  await once(inner, 'listening')
  const { port: innerPort } = inner.address() as AddressInfo
  const dirty = new Set<Socket>()
  const outer = net.createServer((client) => {
    client.on('error', () => {}).on('close', () => dirty.delete(client))
    let answered = false
    let up: Socket | undefined
    client.on('data', (data) => {
      upstream.seen += data.toString('latin1')
      const { armed } = upstream
      if (armed !== undefined && !answered) {
        if (!armed.sticky) upstream.armed = undefined
        answered = true
        dirty.add(client)
        setTimeout(() => answer(client, armed), armed.delayMs ?? 0)
      }
      if (answered) return
      up ??= join(client, innerPort)
      up.write(data)
    })
  })
  outer.listen(0, '127.0.0.1')
  await once(outer, 'listening')
  const upstream: Recording = {
    port: (outer.address() as AddressInfo).port,
    seen: '',
    requests: 0,
    armed: undefined,
    reset() {
      for (const socket of dirty) socket.destroy()
      Object.assign(upstream, { seen: '', requests: 0, armed: undefined })
    }
  }
  t.teardown(() => {
    upstream.reset()
    inner.closeAllConnections()
    inner.close()
    outer.close()
  })
  return upstream
}

function join(client: Socket, port: number): Socket {
  const up = net.connect(port, '127.0.0.1')
  up.on('data', (data) => client.write(data))
    .on('end', () => client.end())
    .on('error', () => client.destroy())
  client.on('end', () => up.end()).on('close', () => up.destroy())
  return up
}

function answer(client: Socket, { raw, then, thenMs = 60, reset, close }: Armed): void {
  if (client.destroyed) return
  client.write(Buffer.from(raw, 'latin1'))
  if (then !== undefined) setTimeout(() => client.write(Buffer.from(then, 'latin1')), thenMs)
  if (reset) setTimeout(() => client.resetAndDestroy(), 20)
  else if (close) client.end()
}

// A header that a request asks for: ?hdr=name:value|name:value
const ASKED = /[?&]hdr=([^&]+)/

function echoing(count: () => void): Server {
  const server = createServer(
    {
      insecureHTTPParser: true,
      maxHeaderSize: 1 << 20,
      requestTimeout: 0,
      headersTimeout: 0,
      keepAliveTimeout: 30_000
    },
    (request, response) => {
      count()
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const { method, url, headers, rawHeaders } = request
        const body = Buffer.concat(chunks).toString('latin1')
        const out = JSON.stringify({ method, url, headers, rawHeaders, body })
        response.writeHead(200, {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(out),
          ...askedOf(request)
        })
        response.end(method === 'HEAD' ? undefined : out)
      })
    }
  )
  server.on('upgrade', ({ headers }, socket) => {
    count()
    const protocol = headers.upgrade ?? 'x'
    socket.on('error', () => {}).on('data', (data) => socket.write(data))
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`)
  })
  server.on('clientError', (_error, socket) => {
    if (socket.writable)
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
  })
  return server
}

function askedOf({ url = '' }: IncomingMessage): Record<string, string> {
  const asked = decodeURIComponent(ASKED.exec(url)?.[1] ?? '')
  return Object.fromEntries(
    asked
      .split('|')
      .filter((pair) => pair !== '')
      .map((pair) => [pair.slice(0, pair.indexOf(':')), pair.slice(pair.indexOf(':') + 1)])
  )
}
