import type { Socket } from 'node:net'
import { buildConnector } from 'undici'

/** Where the connections of a target go, if not where its origin says. */
export interface Place {
  readonly address: string
  readonly port: number
}

export type Connector = buildConnector.connector

/** How connections are opened: what undici's connector takes, with what TLS takes. */
export type ConnectorOptions = buildConnector.BuildOptions & { servername?: string; useH2c?: boolean }

/** Builds what opens the connections of a target: to its place, and deaf to "100 Continue". */
export function makeConnector(options: ConnectorOptions, place: Place | undefined): Connector {
  const connect = buildConnector(options)
  return (to, callback) => {
    const where = place === undefined ? to : { ...to, hostname: place.address, port: String(place.port) }
    const named = { ...where, servername: to.servername ?? nameOf(options, to.hostname) }
    return connect(named as never, (...got) => {
      const socket: (Socket & { alpnProtocol?: unknown }) | null | undefined = got[1]
      if (socket && socket.alpnProtocol !== 'h2') skipContinue(socket)
      callback(...got)
    })
  }
}

// The name that the certificate has to be for stays the origin's, wherever the connection goes.
const nameOf = ({ servername }: ConnectorOptions, hostname: string): string | undefined =>
  servername ?? (/^[\d.]+$|:|^\[/.test(hostname) ? undefined : hostname)

const CONTINUE = Buffer.from('HTTP/1.1 100')
// Where the class of a status stands in a status line; only interim answers are looked at any closer.
const AT = 9
const ONE = 0x31
const END_OF_HEAD = Buffer.from('\r\n\r\n')

// The longest head of a "100 Continue" that is waited for, in bytes.
const LONGEST_CONTINUE = 8192

/** Takes "100 Continue" out of what a connection reads: we never ask for one, so it is to be ignored (RFC 9110 section 15.2), but undici gives up. Only what stands where the head of an answer is due is looked at, so no body is touched. */
function skipContinue(socket: Socket): void {
  const { write, read } = socket
  let due = false
  let held: Buffer | undefined
  // undici writes the head of a request as one text that begins with its method, and never anything else like that.
  socket.write = function writeOn(this: Socket, ...args: unknown[]): boolean {
    const [data] = args
    if (typeof data === 'string' && isCapital(data.charCodeAt(0))) due = true
    return (write as (...args: unknown[]) => boolean).apply(this, args)
  } as typeof write
  socket.read = function readOn(this: Socket, size?: number): unknown {
    const chunk = read.call(this, size) as Buffer | null
    if (!due || chunk === null) return chunk
    if (held === undefined && chunk.length > AT && chunk[AT] !== ONE) {
      due = false
      return chunk
    }
    const rest = afterContinue(held === undefined ? chunk : Buffer.concat([held, chunk]))
    held = rest.held
    due = rest.chunk === null
    // Nothing is left of what came: there may be more to read at once.
    return rest.chunk ?? socket.read(size)
  } as typeof read
}

const isCapital = (code: number): boolean => code >= 65 && code <= 90

/** Splits off every "100 Continue" at the front of some bytes; a part of one is held until the rest comes. */
function afterContinue(bytes: Buffer): { chunk: Buffer | null; held: Buffer | undefined } {
  let rest = bytes
  while (rest.subarray(0, CONTINUE.length).equals(CONTINUE)) {
    const end = rest.indexOf(END_OF_HEAD)
    if (end === -1)
      return rest.length > LONGEST_CONTINUE ? { chunk: rest, held: undefined } : { chunk: null, held: rest }
    rest = rest.subarray(end + END_OF_HEAD.length)
  }
  if (rest.length < CONTINUE.length && CONTINUE.subarray(0, rest.length).equals(rest))
    return { chunk: null, held: rest.length === 0 ? undefined : rest }
  return { chunk: rest, held: undefined }
}
